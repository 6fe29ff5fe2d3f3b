package crowd

import (
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// Reading is what an open connection does with the bytes that come.
type Reading string

// The ways of reading.
const (
	// Parse reads frames, answers pings, checks order and takes the latency of each message of a crowd.
	Parse Reading = "parse"
	// Discard throws bytes away in the kernel, uncopied, as soon as epoll tells of them. Pings are not answered.
	Discard Reading = "discard"
	// Sweep throws bytes away every [SweepEvery], without epoll: the sender wakes nobody. Pings are not answered.
	Sweep Reading = "sweep"
	// Stall never reads.
	Stall Reading = "stall"
)

// SweepEvery is the time between two sweeps.
const SweepEvery = 20 * time.Millisecond

// Leaving is how a client ends a connection.
type Leaving string

// The ways of leaving.
const (
	Stay  Leaving = ""      // not at all
	Frame Leaving = "frame" // a close frame, then waits for the server to close
	Fin   Leaving = "fin"   // closes the socket without a word
	Reset Leaving = "reset" // resets it
	Mixed Leaving = "mixed" // each of the three in turn
)

// Command is one request to a crowd. Exactly one field is set.
type Command struct {
	Open    *Open    `json:",omitempty"`
	Publish *Publish `json:",omitempty"`
	Await   *Await   `json:",omitempty"`
	Close   *Close   `json:",omitempty"`
	Count   *Count   `json:",omitempty"`
	Move    *Move    `json:",omitempty"`
}

// Open makes connections. It is done when each is open, refused or failed.
type Open struct {
	Connections   int
	First         int    // number of the first: it names the user and fills {i} in Path
	Address       string // IPv4 address and port
	Raw           bool   // plain TCP: no handshake
	Path          string // {i} is the connection's number
	Via           wire.Via
	Secret        string   // HS256 key
	Forge         bool     // sign with another key
	Tokens        []string // credentials to show in turn, from the first on, instead of signed ones
	Deflate       bool     // offer permessage-deflate: for clients that discard, since nothing is inflated
	Window        int      // handshakes at once
	Rate          float64  // begun in a second, on a schedule; 0: as fast as Window allows
	Sources       int      // spread over so many source addresses from 127.0.0.2 on; 0: one, of the kernel's choice
	Reading       Reading
	ReceiveBuffer int           // SO_RCVBUF; 0: the kernel's
	Leaving       Leaving       // at once after the handshake
	Timeout       time.Duration // without any progress
}

// Opened is the outcome of [Open].
type Opened struct {
	Open    int
	Refused int         // answered with another status than 101, and closed by the server
	Failed  int         // no answer, a wrong one, or not closed after a refusal
	Status  map[int]int // answers by HTTP status
	Elapsed time.Duration
	Latency Quantiles // from connect to the 101, or to the end after a refusal
	Error   string    // the first failure
}

// Publish sends messages on the first connections that are open. It is done when every reading connection has every
// message, or when nothing more comes.
type Publish struct {
	Senders  int
	Size     int           // bytes of a message
	Messages int           // how many; 0: until Duration is over
	Duration time.Duration // how long, with a Window
	Rate     float64       // a second, on a schedule; 0: as fast as Window allows
	Window   int           // messages on their way, seen by the average member
	Drain    time.Duration // how long to wait for more once nothing comes
}

// Published is the outcome of [Publish].
type Published struct {
	Messages int
	Members  int   // connections that read
	Expected int64 // deliveries: Messages × Members
	Received int64
	Elapsed  time.Duration // from the first send to the last delivery
	Late     time.Duration // the latest send after its schedule
}

// Await waits until so many bytes have been thrown away since the crowd began.
type Await struct {
	Discarded int64
	Timeout   time.Duration // without any progress
}

// Close ends all connections. It is done when all are closed at this end and, where they left by a close frame, at the other.
type Close struct {
	Leaving Leaving
	Timeout time.Duration
}

// Count asks for the counts and, with Reset, sets Latency and the per-message counts to zero afterwards.
type Count struct{ Reset bool }

// Move follows a server that stops: the crowd asks its process to end (SIGTERM), and each connection that is closed with
// 1012 is opened again, at once, at another server. It is done when all are there, or when nothing more comes. Of Open, the
// counts, Window and Leaving are not looked at.
type Move struct {
	Open
	Process int
}

// Moved is the outcome of [Move].
type Moved struct {
	Moved   int           // open at the other server
	Lost    int           // ended in another way than by a close with 1012
	Failed  int           // not let in by the other server
	Elapsed time.Duration // from the signal to the last one that is open again
	First   time.Duration // from the signal to the first close
	Busiest int           // the most that were opened again within one second
	Error   string        // the first failure
}

// Counts is what a crowd has seen.
type Counts struct {
	Open      int   // connections open now
	Lost      int   // ended by the server or by an error while open
	Discarded int64 // bytes thrown away by Discard and Sweep
	Messages  int64 // messages read by Parse
	Pings     int64
	Gaps      int64 // messages missing between two of one sender and connection
	Repeats   int64 // messages that came again or out of order
	Codes     map[int]int
	Latency   Quantiles
	Error     string // why the first was lost
}

// Quantiles summarise a histogram.
type Quantiles struct {
	N                         int64
	P50, P90, P99, P999, Most time.Duration
}

// Reply answers a [Command]. Lines with Progress come before the one that ends it.
type Reply struct {
	Progress  string     `json:",omitempty"`
	Error     string     `json:",omitempty"`
	Opened    *Opened    `json:",omitempty"`
	Published *Published `json:",omitempty"`
	Moved     *Moved     `json:",omitempty"`
	Counts    *Counts    `json:",omitempty"` // after Await, Close and Count
}
