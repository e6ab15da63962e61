// Bun.serve with its own publish and subscribe.
//
// GET /follow/TEAM upgrades and subscribes, POST /publish/TEAM publishes its body to the topic.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(Bun.argv[2] ?? 8000),
  async fetch(request, server) {
    const [, verb, team] = new URL(request.url).pathname.split("/");
    if (verb === "follow" && server.upgrade(request, { data: { team } })) return;
    if (verb !== "publish" || request.method !== "POST") {
      return new Response("not found", { status: 404 });
    }
    server.publish(team, await request.text());
    return new Response(null, { status: 204 });
  },
  websocket: {
    open(socket) {
      socket.subscribe(socket.data.team);
    },
    message() {},
    perMessageDeflate: false,
    // What may wait for one client, the documented default, written out.
    backpressureLimit: 16 * 1024 * 1024,
  },
});
console.log(`listening on ${server.port}`);
