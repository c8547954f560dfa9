// PostGraphile 5 on a workspace's own tables, with its settings for production. PORT, DATABASE_URL and DATABASE_SCHEMA
// come from the environment.
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { grafserv } from "postgraphile/grafserv/node";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { PostGraphileConnectionFilterPreset } from "postgraphile-plugin-connection-filter";

const { DATABASE_URL: connectionString, DATABASE_SCHEMA: schema, PORT: port } = process.env;
const instance = postgraphile({
  extends: [PostGraphileAmberPreset, PostGraphileConnectionFilterPreset],
  // It would hide whatever has only partial indexes (those of live rows) from filters and orders.
  disablePlugins: ["PgIndexBehaviorsPlugin"],
  pgServices: [makePgService({ connectionString, schemas: [schema], poolConfig: { max: 10 } })],
  schema: { connectionFilterRelations: true },
  grafserv: { graphiql: false, watch: false, websockets: false, graphqlPath: "/graphql" },
});
const server = createServer();
server.on("error", (error) => {
  console.error(error);
  process.exit(2);
});
await instance.createServ(grafserv).addTo(server);
server.listen({ port: Number(port), host: "127.0.0.1" });
process.on("SIGTERM", () => process.exit(0));
