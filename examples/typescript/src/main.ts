/** Goes through all of it once, and ends with 1 where something is not as it should be: see the README. */
import assert from "node:assert/strict";

import { bySocket, byStream, changes, EVENTS_CURSOR, type Connect } from "./changes.js";
import { Client, Refused, RequestFailed } from "./client.js";
import { create, customers, rename, upload } from "./customers.js";

const { ENDPOINT, TOKEN, PUBLISHED } = process.env;
if (!ENDPOINT || !TOKEN) throw new Error("set ENDPOINT and TOKEN");
const published = PUBLISHED === "true";
const client = new Client(ENDPOINT, TOKEN, published);
const run = crypto.randomUUID().slice(0, 8);

await pages();
await errors();
await files();
for (const [name, connect] of Object.entries({ socket: bySocket, stream: byStream })) await resumed(name, connect);

async function pages(): Promise<void> {
  const keys = Array.from({ length: 7 }, (_, number) => `${run} ${number}`);
  for (const key of keys) await create(client, { name: `Page ${key}`, kind: "PERSON", source: run }, key);
  // The answer of the first was lost: it is sent again, and there is still one.
  await create(client, { name: `Page ${keys[0]}`, kind: "PERSON", source: run }, keys[0]!);
  const names: string[] = [];
  for await (const customer of customers(client, { source: { eq: run } }, 3)) names.push(customer.name);
  assert.deepEqual(names, keys.map((key) => `Page ${key}`));
  console.log(`pages: ${names.length} customers on 3 pages`);
}

async function errors(): Promise<void> {
  const made = await create(client, { name: `Errors ${run}`, kind: "PERSON" }, `${run} errors`);
  await rename(client, made.id, `Errors ${run} renamed`, made.version);
  await assert.rejects(rename(client, made.id, "too late", made.version), (error) => {
    assert(error instanceof Refused);
    console.log(`errors: ${error.errors[0]!.code}`);
    return error.errors[0]!.code === "STALE";
  });
  await assert.rejects(create(client, { name: "", kind: "PERSON" }, `${run} nameless`), (error) => {
    assert(error instanceof Refused);
    console.log(`errors: ${error.errors[0]!.code} at ${[...error.byField.keys()]}`);
    return error.byField.has("name");
  });
  const stranger = new Client(client.url, "none", published);
  await assert.rejects(stranger.run(EVENTS_CURSOR), (error) => {
    assert(error instanceof RequestFailed);
    console.log(`errors: ${error.code}, HTTP ${error.status}`);
    return error.code === "UNAUTHENTICATED" && error.status === 401;
  });
}

async function files(): Promise<void> {
  const text = "Tên,Điện thoại\nLan,0901234567\n";
  const file = await upload(client, new Blob([text], { type: "text/csv" }), "khách hàng.csv");
  const found = await fetch(new URL(file.url!, client.url));
  assert.equal(await found.text(), text);
  console.log(`files: ${file.name}, ${file.size} bytes`);
}

async function resumed(name: string, connect: Connect): Promise<void> {
  const { eventsCursor } = await client.run(EVENTS_CURSOR);
  const seen: string[] = [];
  let lose = () => {};
  const wanted = [1, 2, 3].map((number) => `${name} ${run} ${number}`);
  const make = (number: number) =>
    create(client, { name: wanted[number - 1]!, kind: "PERSON" }, `${run} ${name} ${number}`);
  await make(1);
  for await (const change of changes(client, connect, eventsCursor, (close) => (lose = close))) {
    if (change.customer?.name.includes(run)) seen.push(change.customer.name);
    if (seen.length === 1) {
      // Lost while two more are made: the next connection begins where this one ended.
      lose();
      await make(2);
      await make(3);
    }
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, wanted);
  console.log(`${name}: told of ${seen.length} changes over two connections, none twice`);
}
