import { accepted, type Client } from "./client.js";
import { graphql } from "./graphql/gql.js";
import type { CustomerCreateInput, CustomersPageQuery, CustomerWhere } from "./graphql/graphql.js";

export const CUSTOMERS_PAGE = graphql(`
  query CustomersPage($where: CustomerWhere, $first: Int!, $after: String) {
    customers(where: $where, first: $first, after: $after, orderBy: [{ field: NAME }]) {
      totalCount
      pageInfo { hasNextPage endCursor }
      nodes { id code name createdAt owner { displayName } }
    }
  }
`);

export const CUSTOMER_CREATE = graphql(`
  mutation CustomerCreate($input: CustomerCreateInput!, $idempotencyKey: String!) {
    customerCreate(input: $input, idempotencyKey: $idempotencyKey) {
      customer { id name version }
      userErrors { path code message }
    }
  }
`);

export const CUSTOMER_UPDATE = graphql(`
  mutation CustomerUpdate($input: CustomerUpdateInput!, $idempotencyKey: String!) {
    customerUpdate(input: $input, idempotencyKey: $idempotencyKey) {
      customer { id name version }
      userErrors { path code message params }
    }
  }
`);

export const FILE_UPLOAD = graphql(`
  mutation FileUpload($file: Upload!) {
    fileUpload(input: { file: $file }) {
      file { id name size sha256 url }
      userErrors { path code message }
    }
  }
`);

type Customer = CustomersPageQuery["customers"]["nodes"][number];

/** All customers that match, page by page: none twice and none left out, whatever is inserted meanwhile. */
export async function* customers(client: Client, where: CustomerWhere, size = 50): AsyncGenerator<Customer> {
  let after: string | null | undefined = null;
  do {
    const page: CustomersPageQuery = await client.run(CUSTOMERS_PAGE, { where, first: size, after });
    yield* page.customers.nodes;
    after = page.customers.pageInfo.hasNextPage ? page.customers.pageInfo.endCursor : null;
  } while (after);
}

/** Create a customer. Whatever happens to the answer, it is there once. Raises Refused. */
export async function create(client: Client, input: CustomerCreateInput, idempotencyKey: string) {
  const { customerCreate } = await client.run(CUSTOMER_CREATE, { input, idempotencyKey });
  return accepted(customerCreate).customer!;
}

/** Rename a customer as he was shown, in the version `expectedVersion`. Raises Refused with STALE where he has changed. */
export async function rename(client: Client, id: string, name: string, expectedVersion: number) {
  const variables = { input: { id, name, expectedVersion }, idempotencyKey: crypto.randomUUID() };
  const { customerUpdate } = await client.run(CUSTOMER_UPDATE, variables);
  return accepted(customerUpdate).customer!;
}

/** Upload a file; `url` is good for some minutes. Raises Refused. */
export async function upload(client: Client, file: Blob, name: string) {
  const { fileUpload } = await client.upload(FILE_UPLOAD, { file }, name);
  return accepted(fileUpload).file!;
}
