import { createClient as createSseClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import WebSocket from "ws";

import type { Client } from "./client.js";
import { graphql } from "./graphql/gql.js";
import type { CustomerChangesSubscription } from "./graphql/graphql.js";

export const EVENTS_CURSOR = graphql(`
  query EventsCursor { eventsCursor }
`);

export const CUSTOMER_CHANGES = graphql(`
  subscription CustomerChanges($since: String!) {
    customerChanged(since: $since) {
      action
      id
      cursor
      customer { id name }
    }
  }
`);

export type Change = CustomerChangesSubscription["customerChanged"];
type Told = AsyncIterable<{ data?: CustomerChangesSubscription | null; errors?: readonly { message: string }[] }>;

/** One connection's worth of changes since a cursor. It must not come back by itself: it would begin at its old cursor. */
export type Connect = (client: Client, since: string) => { told: Told; close: () => void };

export const bySocket: Connect = (client, since) => {
  const socket = createSocketClient({
    url: client.url.replace(/^http/, "ws"),
    connectionParams: { authorization: client.headers.authorization },
    retryAttempts: 0,
    webSocketImpl: WebSocket, // browsers have one of their own, and Node has from 22 on
  });
  const asked = client.asked(CUSTOMER_CHANGES, { since });
  return { told: socket.iterate<CustomerChangesSubscription>(asked), close: () => socket.terminate() };
};

export const byStream: Connect = (client, since) => {
  const stream = createSseClient({ url: client.url, headers: client.headers, retryAttempts: 0 });
  const asked = client.asked(CUSTOMER_CHANGES, { since });
  return { told: stream.iterate<CustomerChangesSubscription>(asked), close: () => stream.dispose() };
};

/**
 * Every change since a cursor, in order and once, over as many connections as it takes.
 *
 * `REFETCH` as an action means: too much has changed to tell it; fetch what you show again. `connected` is called with
 * what ends the connection at hand.
 */
export async function* changes(
  client: Client,
  connect: Connect,
  since: string,
  connected: (close: () => void) => void = () => {},
): AsyncGenerator<Change> {
  for (let losses = 0; ; losses++) {
    const { told, close } = connect(client, since);
    connected(close);
    try {
      for await (const { data, errors } of told) {
        if (errors?.length) throw new Error(errors[0]!.message);
        losses = 0;
        since = data!.customerChanged.cursor;
        yield data!.customerChanged;
      }
    } catch (error) {
      if (losses >= 10) throw error;
    } finally {
      close();
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(100 * 2 ** losses, 5000)));
  }
}
