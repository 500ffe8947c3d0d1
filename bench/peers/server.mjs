// @tus/server with its file store, for bench/uploads.py: node server.mjs FOLDER PORT
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [folder, port] = process.argv.slice(2);
const datastore = new FileStore({ directory: folder });
new Server({ path: "/files", datastore }).listen({ host: "127.0.0.1", port: Number(port) });
