//go:build unix

package bus

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// cpu returns the processor time that this process has had, all threads together. On a machine that is shared it is
// steadier than the clock.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU reports the processor time since begun for each of n things.
func reportCPU(b *testing.B, begun time.Duration, n int, unit string) {
	b.ReportMetric(float64((cpu()-begun).Nanoseconds())/float64(n), "cpu-ns/"+unit)
}

// BenchmarkFanout is one message of 128 bytes to 5,000 members: alone, the next only when the last is delivered, and
// flooded, as fast as the bus takes them.
func BenchmarkFanout(b *testing.B) {
	const members = 5000
	payload := []byte(strings.Repeat("x", 128))
	g := mustGroup(b, "app_1")
	for name, member := range map[string]func() Member{
		"discard": func() Member { return &discard{} },
		"bytes":   func() Member { return &taker{} },
	} {
		for _, mode := range []string{"alone", "flooded"} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				bus := newLocal(b, LocalConfig{})
				for i := range members {
					bus.Join(g, member(), uint32(i), nil)
				}
				settle(bus, g)
				w := make(ready, 1)
				b.ReportAllocs()
				b.ResetTimer()
				begun := cpu()
				for range b.N {
					for bus.Publish(Message{Group: g, Payload: payload}, w) != nil {
						<-w
					}
					if mode == "alone" {
						settle(bus, g)
					}
				}
				settle(bus, g)
				reportCPU(b, begun, b.N*members, "delivery")
			})
		}
	}
}

// BenchmarkJoinLeave is a join, its done, and a leave: in a group that others are in, and in one of its own.
func BenchmarkJoinLeave(b *testing.B) {
	bus := newLocal(b, LocalConfig{})
	shared := mustGroup(b, "app_1")
	settle(bus, shared)
	bus.Join(shared, &discard{}, 0, nil)
	m := &discard{}
	names := make([]session.Group, 1024)
	for i := range names {
		names[i] = mustGroup(b, fmt.Sprintf("own_%d", i))
	}
	for name, group := range map[string]func(i int) session.Group{
		"shared": func(int) session.Group { return shared },
		"own":    func(i int) session.Group { return names[i%len(names)] },
	} {
		b.Run(name, func(b *testing.B) {
			done := make(chan struct{}, 1)
			b.ReportAllocs()
			begun := cpu()
			for i := range b.N {
				ms := bus.Join(group(i), m, uint32(i), func(error) { done <- struct{}{} })
				<-done
				bus.Leave(ms)
			}
			reportCPU(b, begun, b.N, "join")
		})
	}
}

// BenchmarkPublish is what a publisher pays for a message to a group with a member in each shard.
func BenchmarkPublish(b *testing.B) {
	bus := newLocal(b, LocalConfig{})
	g := mustGroup(b, "app_1")
	for i := range bus.hub.shards {
		bus.Join(g, &discard{}, uint32(i), nil)
	}
	settle(bus, g)
	payload := []byte(strings.Repeat("x", 128))
	w := make(ready, 1)
	b.ReportAllocs()
	begun := cpu()
	for b.Loop() {
		for bus.Publish(Message{Group: g, Payload: payload}, w) != nil {
			<-w
		}
	}
	reportCPU(b, begun, b.N, "message")
}

// BenchmarkPublishNATS is a message of 128 bytes to a group with one member on another node, until it is there, with at
// most 8,192 under way: cpu-ns/message is the time of both nodes and the server together, all in this process.
func BenchmarkPublishNATS(b *testing.B) {
	const most = 8192
	for _, listen := range []string{"", "127.0.0.1:0"} {
		name := "tcp"
		if listen == "" {
			name = "inprocess"
		}
		b.Run(name, func(b *testing.B) {
			c := NATSConfig{Embedded: startServer(b, EmbeddedConfig{Listen: listen}), Pending: most}
			if listen != "" {
				c.URL, c.Embedded = c.Embedded.URL(), nil
			}
			from, to := startNATS(b, c), startNATS(b, c)
			g := mustGroup(b, "app_1")
			var m counter
			joinNow(b, to, "app_1", &m)
			payload := []byte(strings.Repeat("x", 128))
			w := make(ready, 1)
			b.ReportAllocs()
			sent, begun := int64(0), cpu()
			for b.Loop() {
				for from.Publish(Message{Group: g, Payload: payload}, w) != nil {
					<-w
				}
				for sent++; sent-m.Load() >= most; { // a pause without a clock: the others have work to do
					runtime.Gosched()
				}
			}
			eventually(b, "all messages are there", func() bool { return m.Load() == sent })
			reportCPU(b, begun, b.N, "message")
		})
	}
}
