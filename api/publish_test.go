package api

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead-ws/fairlead/actor"
	"github.com/fairlead-ws/fairlead/bus"
)

func TestPublish(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	one := n.connect("1", "/ws", actor.Ignore, "app_1")
	two := n.connect("2", "/ws", actor.Ignore, "app_2")
	for _, tt := range []struct {
		body string
		op   ws.OpCode
		want string
		both bool
	}{
		{`{"group":"app_1","data":"hello"}`, ws.OpText, "hello", false},
		{`{"group":"app_1","data":""}`, ws.OpText, "", false},
		{`{"group":"app_1","data":"\u0000 <zoë> \u2028"}`, ws.OpText, "\x00 <zoë> \u2028", false},
		{`{"group":"app_1","data":{"price": 3.10, "a": [1, null]}}`, ws.OpText, `{"price":3.10,"a":[1,null]}`, false},
		{`{"group":"app_1","data": 12345678901234567890 }`, ws.OpText, "12345678901234567890", false},
		{`{"group":"app_1","data":"x","binary":true}`, ws.OpBinary, "x", false},
		{`{"group":"app_1","data_base64":"AAEC/w=="}`, ws.OpBinary, "\x00\x01\x02\xff", false},
		{`{"group":"app_1","data_base64":"aGk=","binary":false}`, ws.OpText, "hi", false},
		{`{"groups":["app_1","app_2"],"data":"both"}`, ws.OpText, "both", true},
	} {
		var got publishResult
		n.ask("POST", "/api/v1/publish", tt.body).as(200, &got)
		want := publishResult{Published: 1, Reach: "cluster"}
		one.want(tt.op, tt.want)
		if tt.both {
			two.want(tt.op, tt.want)
			want.Published = 2
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", tt.body, got, want)
		}
	}
	n.away = true
	var got publishResult
	n.ask("POST", "/api/v1/publish", `{"group":"app_1","data":"still here"}`).as(200, &got)
	if one.want(ws.OpText, "still here"); got.Reach != "node" {
		t.Errorf("without NATS: %+v", got)
	}
}

func TestPublishRefuses(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	many := strings.TrimSuffix(strings.Repeat(`"g",`, maxGroups+1), ",")
	messages := strings.TrimSuffix(strings.Repeat(`{"group":"g","data":1},`, maxBatch+1), ",")
	deliveries := strings.TrimSuffix(strings.Repeat(`{"data":1,"groups":[`+strings.TrimSuffix(strings.Repeat(`"g",`, maxGroups), ",")+`]},`, 11), ",")
	for _, tt := range []struct {
		path, body string
		status     int
		code, says string
	}{
		{"publish", `{}`, 400, "message", "there is no data"},
		{"publish", `{"group":"g","data":null}`, 400, "message", "there is no data"},
		{"publish", `{"data":1}`, 400, "group", "there is no group"},
		{"publish", `{"group":"g","groups":["g"],"data":1}`, 400, "group", "one of the two"},
		{"publish", `{"groups":[],"data":1}`, 400, "group", "there is no group"},
		{"publish", `{"groups":[` + many + `],"data":1}`, 400, "group", "at most 1000"},
		{"publish", `{"group":"a.>","data":1}`, 400, "group", "has '>'"},
		{"publish", `{"groups":["a","*"],"data":1}`, 400, "group", "has '*'"},
		{"publish", `{"group":"g","data":1,"data_base64":"AA=="}`, 400, "message", "one of the two"},
		{"publish", `{"group":"g","data_base64":"AA"}`, 400, "message", "no base64"},
		{"publish", `{"group":"g","data_base64":"/w==","binary":false}`, 400, "message", "not UTF-8"},
		{"publish", `{"group":"g","data":"` + "\xff" + `"}`, 400, "invalid_json", "not UTF-8"},
		{"publish", `{"group":"g","data":1,"dta":1}`, 400, "invalid_json", `unknown field "dta"`},
		{"publish", `{"group":7,"data":1}`, 400, "invalid_json", "group is a JSON number"},
		{"publish", `{"group":"g","data":1} {}`, 400, "invalid_json", "more behind"},
		{"publish", `[]`, 400, "invalid_json", "want an object"},
		{"publish", `{"group":"g"`, 400, "invalid_json", "ends too soon"},
		{"publish", `{"group":"g",}`, 400, "invalid_json", "from byte 14 on"},
		{"publish", ``, 400, "invalid_json", "empty"},
		{"publish?x=1", `{"group":"g","data":1}`, 400, "parameter", `no parameter "x"`},
		{"publish", `{"group":"g","data":1,"idempotency_key":"` + strings.Repeat("k", 129) + `"}`, 400, "idempotency_key", "at most 128"},
		{"publish", `{"group":"g","data":1,"idempotency_key":"ä"}`, 400, "idempotency_key", "ASCII"},
		{"publish", `{"group":"g","data":"` + strings.Repeat("x", 64<<10+1) + `"}`, 413, "too_large", "has 65537 bytes"},
		{"publish", `{"group":"g","data":"` + strings.Repeat("x", maxPublishBody) + `"}`, 413, "too_large", "over 2097152 bytes"},
		{"publish/batch", `{"messages":[]}`, 400, "message", "want 1 to 1000"},
		{"publish/batch", `{"messages":[` + messages + `]}`, 400, "message", "there are 1001 messages"},
		{"publish/batch", `{"messages":[` + deliveries + `]}`, 400, "message", "more than 10000"},
		{"publish/batch", `{"messages":[{"group":"g","data":1},{"group":"","data":1}]}`, 400, "group", "messages[1]: there is no group"},
	} {
		n.ask("POST", "/api/v1/"+tt.path, tt.body).refused(tt.status, tt.code, tt.says)
	}
	n.ask("POST", "/api/v1/publish", `{"group":"g","data":1}`, "Content-Type", "text/plain").refused(415, "unsupported_media_type", "--json")
	n.ask("POST", "/api/v1/publish", `{"group":"g","data":1,"idempotency_key":"a"}`, "Idempotency-Key", "b").refused(400, "idempotency_key", "different")
}

func TestBatch(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	m := n.connect("1", "/ws", actor.Ignore, "app_1")
	var got publishResult
	n.ask("POST", "/api/v1/publish/batch", `{"messages":[{"group":"app_1","data":"one"},{"groups":["app_2","app_1"],"data":2},{"group":"app_1","data_base64":"Mw=="}]}`).as(200, &got)
	if want := (publishResult{Published: 4, Reach: "cluster"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	m.want(ws.OpText, "one")
	m.want(ws.OpText, "2")
	m.want(ws.OpBinary, "3")
}

// What is too large for the bus comes in the middle: what was before it is published.
func TestBatchStopsHalfWay(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	m := n.connect("1", "/ws", actor.Ignore, "app_1")
	large := strings.Repeat("x", 64<<10+1)
	n.ask("POST", "/api/v1/publish/batch", `{"messages":[{"group":"app_1","data":"one"},{"group":"app_1","data":"`+large+`"}]}`).
		refused(413, "too_large", "1 of 2 were published")
	m.want(ws.OpText, "one")
}

func TestIdempotency(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	m := n.connect("1", "/ws", actor.Ignore, "app_1")
	const first = `{"group":"app_1","data":{"a":1},"idempotency_key":"k1"}`
	for i, tt := range []struct {
		body   string
		header []string
		want   publishResult
	}{
		{first, nil, publishResult{1, "cluster", false}},
		{first, nil, publishResult{1, "cluster", true}},
		{`{ "idempotency_key":"k1", "data":{ "a": 1 }, "groups":["app_1"] }`, nil, publishResult{1, "cluster", true}}, // it publishes the same
		{`{"group":"app_1","data":{"a":1}}`, []string{"Idempotency-Key", "k1"}, publishResult{1, "cluster", true}},
		{`{"group":"app_1","data":{"a":1}}`, []string{"Idempotency-Key", `"k1"`}, publishResult{1, "cluster", true}},
		{`{"group":"app_1","data":{"a":1}}`, nil, publishResult{1, "cluster", false}},
		{`{"group":"app_1","data":{"a":1},"idempotency_key":"k2"}`, nil, publishResult{1, "cluster", false}},
	} {
		var got publishResult
		n.ask("POST", "/api/v1/publish", tt.body, tt.header...).as(200, &got)
		if got != tt.want {
			t.Errorf("%d: %+v, want %+v", i, got, tt.want)
		}
	}
	for _, other := range []string{
		`{"group":"app_1","data":{"a":2},"idempotency_key":"k1"}`,
		`{"group":"app_2","data":{"a":1},"idempotency_key":"k1"}`,
		`{"group":"app_1","data":{"a":1},"binary":true,"idempotency_key":"k1"}`,
		`{"groups":["app_1","app_1"],"data":{"a":1},"idempotency_key":"k1"}`,
	} {
		n.ask("POST", "/api/v1/publish", other).refused(409, "idempotency_conflict", "new key")
	}
	n.ask("POST", "/api/v1/publish", `{"group":"app_1","data":"end"}`)
	for range 3 {
		m.want(ws.OpText, `{"a":1}`)
	}
	m.want(ws.OpText, "end")
}

// busyBus is a bus whose every second message finds it busy, and that counts what it takes.
type busyBus struct {
	mu     sync.Mutex
	taken  []string
	tries  int
	locked bool // busy until it is unlocked
}

func (b *busyBus) Connected() bool { return true }

func (b *busyBus) Publish(m bus.Message, w bus.Waiter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tries++; b.locked && len(b.taken) == 1 {
		return bus.ErrBusy
	}
	if b.tries%2 == 0 {
		go w.BusReady()
		return bus.ErrBusy
	}
	b.taken = append(b.taken, string(m.Payload))
	return nil
}

// A busy bus is waited for; where it stays so, a second try with the same key goes on from there.
func TestPublishWaitsForTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busyBus{locked: true}
		n := newTestNode(t, "n", 1, nil, func(c *Config) { c.Backend.Publisher = b })
		const batch = `{"messages":[{"group":"g","data":"one"},{"group":"g","data":"two"},{"group":"g","data":"three"}],"idempotency_key":"k"}`
		res := n.ask("POST", "/api/v1/publish/batch", batch)
		res.refused(503, "busy", "1 of 3 were published")
		if got := res.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After is %q", got)
		}
		b.mu.Lock()
		b.locked = false
		b.mu.Unlock()
		var got publishResult
		n.ask("POST", "/api/v1/publish/batch", batch).as(200, &got)
		if got.Published != 3 || got.Replayed || strings.Join(b.taken, " ") != "one two three" {
			t.Errorf("%+v, and the bus has %v", got, b.taken)
		}
		if v := testutil.ToFloat64(n.API.metrics.requests["POST /api/v1/publish/batch"][2]); v != 1 {
			t.Errorf("%v answers of 5xx were counted, want 1", v)
		}
		if err := n.actors.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestPublishOnAStoppedBus(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	if err := n.bus.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.ask("POST", "/api/v1/publish", `{"group":"g","data":1}`).refused(503, "unavailable", "ask another one")
}

// Keys are forgotten after their time, and the oldest when there are too many.
func TestIdempotencyForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evicted := prometheus.NewCounter(prometheus.CounterOpts{Name: "x", Help: "x"})
		s := newIdempotency(3, evicted)
		var one, two [32]byte
		two[0] = 1
		keep := s.get("a", one)
		if s.get("a", one) != keep || s.get("a", two) != nil {
			t.Error("a key is not what it was")
		}
		time.Sleep(idempotencyTTL - 1)
		s.get("b", one)
		time.Sleep(time.Nanosecond)
		if s.get("a", two) == nil {
			t.Error("a key is not forgotten after its time")
		}
		s.get("c", one)
		if s.get("b", one) == nil || len(s.keys) != 3 || testutil.ToFloat64(evicted) != 0 {
			t.Errorf("%d keys, %v evicted", len(s.keys), testutil.ToFloat64(evicted))
		}
		s.get("d", one)
		if len(s.keys) != 3 || s.order.Len() != 3 || s.keys["b"] != nil || testutil.ToFloat64(evicted) != 1 {
			t.Errorf("%d keys, %v evicted; want the oldest to go", len(s.keys), testutil.ToFloat64(evicted))
		}
	})
}

// Requests with one key come one after the other, and one of them publishes.
func TestIdempotencyAtTheSameTime(t *testing.T) {
	n := newTestNode(t, "n", 1, nil, nil)
	m := n.connect("1", "/ws", actor.Ignore, "g")
	var asked sync.WaitGroup
	for range 16 {
		asked.Go(func() { n.ask("POST", "/api/v1/publish", `{"group":"g","data":"once","idempotency_key":"k"}`) })
	}
	asked.Wait()
	n.ask("POST", "/api/v1/publish", `{"group":"g","data":"end"}`)
	m.want(ws.OpText, "once")
	m.want(ws.OpText, "end")
}

// FuzzPublish holds that whatever is taken is what a client can receive, and that errors quote no payload.
func FuzzPublish(f *testing.F) {
	for _, body := range []string{
		`{"group":"app_1","data":"hello"}`, `{"groups":["a","b"],"data":{"x":[1,2]}}`, `{"group":"g","data_base64":"AAEC"}`,
		`{"group":"g","data":"\ud800"}`, `{"group":"g","data_base64":"/w==","binary":false}`, `{"messages":[{"group":"g","data":1}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var one publishRequest
		if parseBody(body, false, &one) == nil {
			list, err := one.parse("")
			checkParsed(t, list, err)
		}
		var many batchRequest
		if parseBody(body, false, &many) == nil {
			list, err := many.parse()
			checkParsed(t, list, err)
		}
	})
}

func checkParsed(t *testing.T, list []bus.Message, err error) {
	t.Helper()
	if (err == nil) != (len(list) > 0) {
		t.Fatalf("%d messages and %v", len(list), err)
	}
	for _, m := range list {
		if m.Group.IsZero() {
			t.Fatalf("%+v", m)
		}
		if !m.Binary && strings.ToValidUTF8(string(m.Payload), "") != string(m.Payload) {
			t.Fatalf("a text message is %q", m.Payload)
		}
	}
	if err != nil && asProblem(err).status != 400 {
		t.Fatal(fmt.Errorf("%w is no error of the client", err))
	}
}
