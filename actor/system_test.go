package actor

import (
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

func TestNewRefuses(t *testing.T) {
	local, err := bus.NewLocal(bus.LocalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close(t.Context()) })
	memory, err := journal.NewMemory(journal.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	full := Config{Bus: local, Journal: memory, Epoch: session.Epoch{1}}
	for name, change := range map[string]func(*Config){
		"no bus":                func(c *Config) { c.Bus = nil },
		"negative Limits":       func(c *Config) { c.Limits.Connections = -1 },
		"negative MessageBytes": func(c *Config) { c.MessageBytes = -1 },
		"negative OutboxBytes":  func(c *Config) { c.OutboxBytes = -1 },
		"negative WriteTimeout": func(c *Config) { c.WriteTimeout = -1 },
		"negative PingInterval": func(c *Config) { c.PingInterval = -1 },
		"negative PongTimeout":  func(c *Config) { c.PongTimeout = -1 },
		"negative CloseTimeout": func(c *Config) { c.CloseTimeout = -1 },
	} {
		c := full
		change(&c)
		if s, err := New(c); err == nil || s != nil || !strings.HasPrefix(err.Error(), "actor: ") {
			t.Errorf("%s: New = %v, %v", name, s, err)
		}
	}
	// Two nodes cannot share a registry; the one that fails leaves nothing in it.
	taken := prometheus.NewRegistry()
	taken.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_outbox_bytes", Help: "Taken."}))
	full.Registerer = taken
	if _, err := New(full); err == nil {
		t.Error("New with a registry that has such a metric gives no error")
	}
	if families, err := taken.Gather(); err != nil || len(families) != 1 {
		t.Errorf("%d metrics are left, %v", len(families), err)
	}
}

func TestDefaults(t *testing.T) {
	n := newNode(t, Config{})
	if l := n.Limits(); l != (Limits{Connections: 10_000, GroupsPerConnection: 100}) {
		t.Errorf("the default limits are %+v", l)
	}
	c := n.System.config
	if c.MessageBytes != 64<<10 || c.OutboxBytes != 1<<20 || c.WriteTimeout != 10*time.Second ||
		c.PingInterval != 25*time.Second || c.PongTimeout != 20*time.Second || c.CloseTimeout != 5*time.Second {
		t.Errorf("the defaults are %+v", c)
	}
}

// TestNoJournal: who embeds a node needs neither a journal nor an epoch; sessions have numbers all the same.
func TestNoJournal(t *testing.T) {
	local, err := bus.NewLocal(bus.LocalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close(t.Context())
	var epochs []session.Epoch
	for range 2 {
		s, err := New(Config{Bus: local})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ours, theirs := net.Pipe()
		defer theirs.Close()
		opened := make(chan session.ID, 1)
		go io.Copy(io.Discard, theirs) //nolint:errcheck // until it is closed
		err = s.Open(t.Context(), ours, Birth{
			Identity: session.Anonymous(), Handler: script{open: func(a *Actor) { opened <- a.ID() }},
		})
		if err != nil {
			t.Fatal(err)
		}
		id := <-opened
		if id.Epoch != s.Epoch() || id.Number != 1 {
			t.Errorf("the session is %v, in the epoch %v", id, s.Epoch())
		}
		epochs = append(epochs, id.Epoch)
	}
	if epochs[0].IsZero() || epochs[0] == epochs[1] {
		t.Errorf("the epochs are %v and %v: want two", epochs[0], epochs[1])
	}
}

// An idle connection is paid for by the actor's size class: the next one after 352 bytes is 384.
func TestActorSize(t *testing.T) {
	if size := unsafe.Sizeof(Actor{}); size > 352 {
		t.Errorf("an Actor has %d bytes, want at most 352", size)
	}
}

// The names and labels of the metrics are part of what users build on.
func TestMetrics(t *testing.T) {
	n := newNode(t, Config{})
	problems, err := testutil.GatherAndLint(n.registry)
	if err != nil || len(problems) != 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	labels := make(map[string][]string)
	for _, f := range families {
		names = append(names, f.GetName())
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[f.GetName()+"/"+l.GetName()] = append(labels[f.GetName()+"/"+l.GetName()], l.GetValue())
			}
		}
	}
	for _, want := range []string{
		"fairlead_closes_total", "fairlead_connections", "fairlead_events_unrecorded_total", "fairlead_handler_panics_total",
		"fairlead_messages_received_total", "fairlead_messages_sent_total", "fairlead_messages_unpublished_total", "fairlead_outbox_bytes",
		"fairlead_pong_timeouts_total", "fairlead_read_pauses_total", "fairlead_received_bytes_total", "fairlead_sent_bytes_total",
		"fairlead_slow_closes_total",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no metric %s", want)
		}
	}
	// All children are there from the start, so that a rate is right from the first close.
	if got := labels["fairlead_closes_total/code"]; len(got) != len(knownCodes)+1 || !slices.Contains(got, "other") {
		t.Errorf("closes_total has the codes %v", got)
	}
	if got := labels["fairlead_slow_closes_total/reason"]; !slices.Equal(got, []string{"outbox_full", "write_timeout"}) {
		t.Errorf("slow_closes_total has the reasons %v", got)
	}

	c := n.connect(Birth{Handler: Echo})
	c.send(text, "hello")
	c.want(text, "hello")
	for name, want := range map[string]float64{
		"fairlead_connections": 1, "fairlead_messages_received_total": 1, "fairlead_received_bytes_total": 5,
		"fairlead_messages_sent_total": 1, "fairlead_sent_bytes_total": 7, "fairlead_outbox_bytes": 0,
	} {
		eventually(t, name, func() bool { return n.value(name, "") == want })
	}
}

// logs is where a logger writes that a test reads.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// The log has one line of a connection, and a panic's: no payload, no words of the peer, nothing that was panicked with.
func TestLog(t *testing.T) {
	l := &logs{}
	n := newNode(t, Config{Logger: slog.New(slog.NewTextHandler(l, nil))})
	alice := &session.Identity{Subject: "42", Name: "alice", Source: "test"}
	c := n.connect(Birth{Identity: alice, Route: "/ws/{group}", Handler: Echo})
	c.send(text, "SECRET payload")
	c.want(text, "SECRET payload")
	c.send(closeBit, code(1000, "SECRET reason"))
	c.wantClose(1000)
	n.drained()
	c = n.connect(Birth{Handler: script{message: func(_ *Actor, m Message) { panic(string(m.Payload)) }}})
	c.send(text, "SECRET panic")
	c.wantClose(CloseInternalError)
	n.drained()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.b.String()
	if strings.Contains(got, "SECRET") || strings.Contains(got, "alice") {
		t.Errorf("the log has what is nobody's business:\n%s", got)
	}
	lines := slices.Collect(strings.Lines(got))
	if len(lines) != 3 || !strings.Contains(lines[0], "subject=42 route=/ws/{group} code=1000") ||
		!strings.Contains(lines[1], "a value of type string") || !strings.Contains(lines[2], "code=1011") {
		t.Errorf("the log is:\n%s", got)
	}
}
