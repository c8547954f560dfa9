import type { CodegenConfig } from "@graphql-codegen/cli";

// Types of every document in src/, and their texts by SHA-256 in src/graphql/persisted-documents.json.
const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: ["src/**/*.ts", "!src/graphql/**"],
  generates: {
    "src/graphql/": {
      preset: "client",
      presetConfig: { persistedDocuments: { hashAlgorithm: "sha256" } },
      config: {
        documentMode: "string",
        enumsAsTypes: true,
        onlyOperationTypes: true,
        skipTypename: true,
        useTypeImports: true,
        emitLegacyCommonJSImports: false,
        strictScalars: true,
        // Money is a decimal in a string, moments are RFC 3339 in UTC.
        scalars: { Date: "string", DateTime: "string", Decimal: "string", JSON: "unknown", Upload: "Blob" },
      },
    },
  },
};

export default config;
