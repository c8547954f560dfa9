import type { TypedDocumentString } from "./graphql/graphql.js";

/** What the server says in top-level `errors`: nothing that a person could correct in a form. */
export class RequestFailed extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** What a person can correct, from a payload's `userErrors`. */
export class Refused extends Error {
  constructor(readonly errors: readonly UserError[]) {
    super(errors.map((error) => error.message).join("\n"));
  }

  /** The messages by the path of the input's value, to show beside the fields of a form. */
  get byField(): Map<string, string> {
    return new Map(this.errors.map((error) => [error.path.slice(1).join("."), error.message]));
  }
}

interface UserError {
  path: readonly string[];
  code: string;
  message: string;
}

interface Answer<Result> {
  data?: Result;
  errors?: { message: string; extensions?: { code?: string; retryAfter?: number } }[];
}

const ATTEMPTS = 4;

/** A workspace's endpoint. `published` names documents by their hashes instead of sending them. */
export class Client {
  constructor(
    readonly url: string,
    readonly token: string,
    private readonly published = false,
  ) {}

  get headers(): Record<string, string> {
    return { authorization: `Bearer ${this.token}`, "accept-language": "en" };
  }

  /** What a request, a socket or a stream sends for an operation. */
  asked<Result, Variables>(document: TypedDocumentString<Result, Variables>, variables: unknown) {
    const hash = document.__meta__?.hash as string | undefined;
    const named = this.published && hash ? { query: "", documentId: hash } : { query: document.toString() };
    return { ...named, variables: variables as Record<string, unknown> };
  }

  /** Run a query or a mutation. Raises RequestFailed. */
  async run<Result, Variables>(
    document: TypedDocumentString<Result, Variables>,
    variables?: Variables,
  ): Promise<Result> {
    const headers = { ...this.headers, "content-type": "application/json" };
    const body = JSON.stringify(this.asked(document, variables));
    return this.send<Result>({ method: "POST", headers, body }, repeatable(document, variables));
  }

  /** Run a mutation with one file, which goes into its variable `file`. */
  async upload<Result, Variables extends { file: Blob }>(
    document: TypedDocumentString<Result, Variables>,
    variables: Variables,
    name: string,
  ): Promise<Result> {
    const form = new FormData();
    form.set("operations", JSON.stringify(this.asked(document, { ...variables, file: null })));
    form.set("map", JSON.stringify({ file: ["variables.file"] }));
    form.set("file", variables.file, name);
    return this.send<Result>({
      method: "POST",
      headers: { ...this.headers, "graphql-require-preflight": "1" },
      body: form,
    });
  }

  /** Where the server is away or asks to wait, send what may be sent again a second time. */
  private async send<Result>(request: RequestInit, again = false): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      let failure: RequestFailed;
      try {
        const response = await fetch(this.url, request);
        const answer = await parsed<Result>(response);
        const error = answer.errors?.[0];
        if (!error && answer.data) return answer.data;
        failure = new RequestFailed(
          error?.extensions?.code ?? "SERVICE_UNAVAILABLE",
          error?.message ?? response.statusText,
          response.status,
          error?.extensions?.retryAfter,
        );
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        failure = new RequestFailed("SERVICE_UNAVAILABLE", "The server cannot be reached.", 0);
      }
      const temporary = ["SERVICE_UNAVAILABLE", "RATE_LIMITED"].includes(failure.code);
      if (!again || !temporary || attempt === ATTEMPTS) throw failure;
      const seconds = failure.retryAfter ?? 0.1 * 2 ** attempt;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }
}

/** A payload that was not refused; it is null only beside a top-level error. Raises Refused. */
export function accepted<Payload extends { userErrors: readonly UserError[] }>(
  payload: Payload | null | undefined,
): Payload {
  if (!payload) throw new RequestFailed("INTERNAL_SERVER_ERROR", "There is no payload.", 200);
  if (payload.userErrors.length > 0) throw new Refused(payload.userErrors);
  return payload;
}

/** Queries may be sent twice, mutations with an idempotency key: done once, answered alike. */
function repeatable(document: { toString(): string }, variables: unknown): boolean {
  const keyed = typeof variables === "object" && variables !== null && "idempotencyKey" in variables;
  return keyed || !/^\s*mutation\b/m.test(document.toString());
}

/** The answer; a proxy that finds no server answers with a page of its own. */
async function parsed<Result>(response: Response): Promise<Answer<Result>> {
  const type = response.headers.get("content-type") ?? "";
  return type.includes("json") ? ((await response.json()) as Answer<Result>) : {};
}
