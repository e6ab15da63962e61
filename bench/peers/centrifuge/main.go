// Centrifugo's engine as a server: github.com/centrifugal/centrifuge, JSON protocol.
//
// Clients connect to /connection/websocket and subscribe to a team's channel; POST /publish/{team}
// sends its body to the channel. No history, no presence, nothing logged for each message: the
// fastest way through the engine, with delivery at most once.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"

	"github.com/centrifugal/centrifuge"
)

func main() {
	port := flag.Int("port", 8000, "where to listen, on loopback")
	flag.Parse()

	// The zero value keeps the documented defaults: a client's queue may hold 1 MiB, then the
	// client is disconnected as slow.
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(connecting)
	node.OnConnect(connected)
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}

	http.Handle("GET /connection/websocket", centrifuge.NewWebsocketHandler(node, websocket()))
	http.HandleFunc("POST /publish/{team}", func(w http.ResponseWriter, r *http.Request) {
		publish(node, w, r)
	})
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", strconv.Itoa(*port)), nil))
}

func websocket() centrifuge.WebsocketConfig {
	return centrifuge.WebsocketConfig{
		// A buffer is held while something is written, not for the life of a connection.
		UseWriteBufferPool: true,
		// Documented for large pools of mostly idle connections; order is not affected.
		ProcessCommandsOffReadLoop: true,
		// Pings go out every 25 s, as by default, but nobody is disconnected for a late answer:
		// under load the engine puts a ping and other messages into one frame, where a simple
		// client overlooks it.
		PingPongConfig: centrifuge.PingPongConfig{PongTimeout: -1},
	}
}

// Everybody may come: signing in is not what is measured.
func connecting(_ context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
}

func connected(client *centrifuge.Client) {
	client.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
		done(centrifuge.SubscribeReply{}, nil)
	})
}

func publish(node *centrifuge.Node, w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := node.Publish(r.PathValue("team"), data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
