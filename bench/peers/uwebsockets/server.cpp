// uWebSockets with its own publish and subscribe.
//
// GET /follow/:team upgrades and subscribes, POST /publish/:team publishes its body to the topic.
// One loop, one thread, no TLS, no compression: what the library's broadcasting examples do.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "App.h"

namespace {

// What may wait for one client; further messages to it are dropped until it has read. The value of
// the library's BroadcastingEchoServer example.
constexpr unsigned BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024;

struct Follower {
    std::string team;
};

void upgrade(uWS::HttpResponse<false> *response, uWS::HttpRequest *request,
             us_socket_context_t *context) {
    response->upgrade<Follower>({std::string(request->getParameter(0))},
                                request->getHeader("sec-websocket-key"),
                                request->getHeader("sec-websocket-protocol"),
                                request->getHeader("sec-websocket-extensions"), context);
}

void publish(uWS::App &app, uWS::HttpResponse<false> *response, uWS::HttpRequest *request) {
    response->onAborted([] {});
    response->onData([&app, response, team = std::string(request->getParameter(0)),
                      body = std::string()](std::string_view part, bool last) mutable {
        body.append(part);
        if (last) {
            app.publish(team, body, uWS::OpCode::TEXT);
            response->end();
        }
    });
}

}  // namespace

int main(int count, char **arguments) {
    const int port = count > 1 ? std::atoi(arguments[1]) : 8000;
    uWS::App app;
    app.ws<Follower>("/follow/:team",
                     {.compression = uWS::DISABLED,
                      .maxBackpressure = BACKPRESSURE_BYTES_MAX,
                      .upgrade = upgrade,
                      .open = [](auto *ws) { ws->subscribe(ws->getUserData()->team); }});
    app.post("/publish/:team",
             [&app](auto *response, auto *request) { publish(app, response, request); });
    app.listen("127.0.0.1", port, [port](us_listen_socket_t *listener) {
        if (listener == nullptr) {
            std::fprintf(stderr, "port %d is taken\n", port);
            std::exit(1);
        }
    });
    app.run();
}
