package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/bus"
)

// nats connects as the node would, and asks for JetStream where the journal needs it.
func (d *doctor) nats(ctx context.Context) {
	c := d.config.NATS
	if c.URL == "" {
		d.embedded()
		return
	}
	where := withoutUser(c.URL)
	nc, err := bus.Dial(bus.NATSConfig{
		URL: c.URL, Cluster: d.parts.cluster, Name: "fairlead doctor", Creds: c.Creds, User: c.User, Password: c.Password,
		TLSCA: c.TLSCA, TLSCert: c.TLSCert, TLSKey: c.TLSKey, Logger: quiet(),
	})
	if err == nil {
		defer nc.Close()
		if err = nc.LastError(); err == nil && !nc.IsConnected() {
			err = errNoAnswer
		}
	}
	if err != nil {
		d.note("NATS", fails, fmt.Sprintf("%s: %v", where, err), "until it answers, members on one node hear no other node's; see that the address, the credentials and the firewall are right")
		return
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		d.note("NATS", fails, fmt.Sprintf("%s: it connects, and does not answer: %v", where, err), "")
		return
	}
	d.note("NATS", fine, fmt.Sprintf("%s, version %s, answers in %v", where, nc.ConnectedServerVersion(), time.Since(start).Round(10*time.Microsecond)), "")
	if largest, want := nc.MaxPayload(), int64(d.config.Limits.MessageBytes); largest < want {
		d.note("NATS max_payload", fails, fmt.Sprintf("it is %d, and limits.message_bytes is %d: larger messages reach no other node", largest, want),
			fmt.Sprintf("set max_payload: %d in the servers' configuration, or lower limits.message_bytes", want))
	}
	d.jetStream(ctx, nc)
}

// jetStream looks at what keeps the journal.
func (d *doctor) jetStream(ctx context.Context, nc *nats.Conn) {
	mode, tickets := d.config.Journal.Mode, hasTickets(d.config.Config)
	if mode == "off" && !tickets {
		d.note("JetStream", fine, "not asked: journal.mode is off", "")
		return
	}
	js, err := jetstream.New(nc)
	var account *jetstream.AccountInfo
	if err == nil {
		account, err = js.AccountInfo(ctx)
	}
	if err != nil {
		v, means := warns, "events wait in the node's memory, where nobody can read them, and are lost over journal.buffer_bytes or when it stops"
		if mode == "require" {
			v, means = fails, "no connection is taken: journal.mode is require"
		}
		advice := "switch JetStream on in the NATS servers and for this account"
		if tickets {
			v, means = fails, "no ticket can be made or used"
		} else {
			advice += ", or set journal.mode = \"off\""
		}
		d.note("JetStream", v, fmt.Sprintf("%v; %s", err, means), advice)
		return
	}
	d.note("JetStream", fine, fmt.Sprintf("%d streams, %d bytes on disk and %d in memory", account.Streams, account.Store, account.Memory), "")
	stream, err := js.Stream(ctx, "FL_"+d.parts.cluster.String()+"_journal")
	if err != nil {
		return // the first node makes it
	}
	info := stream.CachedInfo()
	if off := info.TimeStamp.Sub(d.now()).Abs(); !info.TimeStamp.IsZero() && off > clockTolerance {
		d.note("clock against NATS", fails, fmt.Sprintf("%v apart", off.Round(time.Millisecond)), "let NTP keep the clocks of this machine and of the NATS servers")
	} else {
		d.note("clock against NATS", fine, "less than "+clockTolerance.String()+" apart", "")
	}
	if have, want := info.Config.Replicas, d.config.Journal.Replicas; have != want {
		d.note("journal", warns, fmt.Sprintf("the stream has %d replicas, and journal.replicas is %d", have, want), "set journal.replicas to what the cluster can hold")
	}
}

// clockTolerance is how far two clocks may be apart before tokens and the order of events suffer.
const clockTolerance = 2 * time.Second

// embedded looks at what the server inside the node needs.
func (d *doctor) embedded() {
	c := d.config.NATS
	d.note("NATS", fine, "inside the node: its groups are not shared with other nodes", "")
	if c.StoreDir == "" || d.config.Journal.Mode == "off" {
		return
	}
	if err := os.MkdirAll(c.StoreDir, 0o700); err != nil {
		d.note("nats.store_dir", fails, err.Error(), "let the node's user write there")
		return
	}
	f, err := os.CreateTemp(c.StoreDir, "doctor-*")
	if err != nil {
		d.note("nats.store_dir", fails, err.Error(), "let the node's user write there")
		return
	}
	f.Close()
	os.Remove(f.Name())
	d.note("nats.store_dir", fine, c.StoreDir+" can be written", "")
}

// node asks the node that runs here, or sees whether one could.
func (d *doctor) node(ctx context.Context) {
	l := d.config.Listen
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	ready, err := askReady(ctx, reachable(l.Internal))
	if err == nil {
		d.running(ready)
		return
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		d.note("node", fails, fmt.Sprintf("something at listen.internal, %s, does not answer as a Fairlead: %v", l.Internal, err), "choose another address, or stop the other program")
		return
	}
	for _, a := range []struct{ key, address string }{{"listen.internal", l.Internal}, {"listen.public", l.Public}} {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.address)
		if err != nil {
			d.note(a.key, fails, err.Error(), "choose another address, or stop the other program")
			continue
		}
		listener.Close()
		d.note(a.key, fine, a.address+" is free: no node runs here yet", "")
	}
}

// readyAnswer is what /readyz?verbose says.
type readyAnswer struct {
	Ready  bool
	Checks []struct {
		Name, Error string
		OK          bool
	}
}

func (d *doctor) running(r *readyAnswer) {
	if r.Ready {
		d.note("node", fine, "one runs here, and is ready", "")
		return
	}
	for _, c := range r.Checks {
		if !c.OK {
			d.note("node", fails, fmt.Sprintf("one runs here, and is not ready: %s: %s", c.Name, c.Error), "see its log")
		}
	}
}

// askReady asks a node whether it is ready.
func askReady(ctx context.Context, address string) (*readyAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz?verbose", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	var answer readyAnswer
	if json.Unmarshal(b, &answer) != nil || len(answer.Checks) == 0 {
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return &answer, nil
}

// reachable returns an address at which this machine reaches what listens on address.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// onLoopback reports whether only this machine reaches what listens on address.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost"))
}
