// Socket.IO with its Redis adapter: what its documentation shows for more than one server, of which
// this is one.
//
// A client names its team when it connects (`40{"team":"t000"}`) and joins the room of that name.
// POST /publish/TEAM emits to the room: Socket.IO tells Redis, for the other servers, and its own
// clients.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

// Connections that may wait to be accepted; the default of 511 is little for a crowd.
const BACKLOG = 4096;

const [port, redisPort] = process.argv.slice(2).map(Number);

const publisher = createClient({ url: `redis://127.0.0.1:${redisPort}` });
const subscriber = publisher.duplicate();
// Redis is started beside this, so the first attempts may come too early.
for (const client of [publisher, subscriber]) client.on("error", () => {});
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer(publish);
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["websocket"],
  serveClient: false,
});
// Recommended for memory: the first HTTP request isn't needed any more.
io.engine.on("connection", (socket) => {
  socket.request = null;
});
io.on("connection", (socket) => {
  socket.join(socket.handshake.auth.team);
});
http.listen(port, "127.0.0.1", BACKLOG);

function publish(request, response) {
  const [, verb, team] = request.url.split("/");
  if (request.method !== "POST" || verb !== "publish") {
    response.writeHead(404).end();
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    io.to(team).emit("event", JSON.parse(Buffer.concat(parts).toString()));
    response.writeHead(204).end();
  });
}
