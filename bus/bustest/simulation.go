package bustest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

var seedFlag = flag.Uint64("bustest.seed", 0, "seed of the simulation; 0: a new one each time")

const (
	simShards     = 3
	simGroups     = 6
	simPublishers = 4
	simJoiners    = 6
	simStays      = 40 // of each joiner
)

// counts is a number for each publisher.
type counts [simPublishers]int64

// line is what one group's publishers have done. Each publisher numbers its messages to a group from 1.
type line struct {
	group session.Group
	begun [simPublishers]atomic.Int64 // the last that was given to Publish
	taken [simPublishers]atomic.Int64 // the last for which Publish has returned nil
}

func snapshot(a *[simPublishers]atomic.Int64) (c counts) {
	for i := range a {
		c[i] = a[i].Load()
	}
	return c
}

// stay is one membership, and what the publishers had done at its turns.
type stay struct {
	recorder

	line    *line
	err     error  // of the join
	atJoin  counts // taken when Join was called: none of these may come
	atDone  counts // begun when done was called: all later ones must come ...
	atLeave counts // ... up to what was taken when Leave was called
}

// testSimulation lets publishers, joins and leaves run against each other, and then checks for each stay and publisher
// that what came is one run of numbers without gap or repetition, which begins and ends where the contract says.
func testSimulation(t *testing.T, open opener) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d (-bustest.seed repeats the choices, not the schedule)", seed)
	b := open(Options{Shards: simShards, InboxBytes: 8 << 10})
	lines := make([]*line, simGroups)
	for i := range lines {
		lines[i] = &line{group: group(t, fmt.Sprintf("sim.%d", i))}
	}
	var stays [simJoiners][]*stay
	var stop atomic.Bool
	var publishers, joiners sync.WaitGroup
	for p := range simPublishers {
		rnd := rand.New(rand.NewPCG(seed, uint64(p)))
		publishers.Go(func() {
			for !stop.Load() {
				l := lines[rnd.IntN(simGroups)]
				n := l.begun[p].Add(1)
				publish(t, b, l.group, fmt.Sprintf("%v %d %d", l.group, p, n))
				l.taken[p].Store(n)
				runtime.Gosched() // on one processor, joins would wait for the end of each publisher's turn
			}
		})
	}
	for j := range simJoiners {
		rnd := rand.New(rand.NewPCG(seed, uint64(100+j)))
		joiners.Go(func() {
			for range simStays {
				s := &stay{line: lines[rnd.IntN(simGroups)]}
				s.live(t, b, rnd)
				stays[j] = append(stays[j], s)
			}
		})
	}
	joiners.Wait()
	stop.Store(true)
	publishers.Wait()
	for _, l := range lines {
		fence(t, b, l.group, simShards)
	}
	come := 0
	for j := range stays {
		for _, s := range stays[j] {
			come += s.check(t)
		}
	}
	if come == 0 {
		t.Error("nobody got anything: the simulation shows nothing")
	}
}

// live joins, stays a while and leaves; sometimes it leaves without waiting for the join.
func (s *stay) live(t *testing.T, b Bus, rnd *rand.Rand) {
	shard := uint32(rnd.IntN(simShards))
	done := make(chan struct{})
	s.atJoin = snapshot(&s.line.taken)
	ms := b.Join(s.line.group, s, shard, func(err error) {
		s.err = err
		s.atDone = snapshot(&s.line.begun)
		close(done)
	})
	hurry := rnd.IntN(5) == 0
	if !hurry {
		receive(t, done, "done")
	}
	for range rnd.IntN(50) {
		runtime.Gosched()
	}
	s.atLeave = snapshot(&s.line.taken)
	b.Leave(ms)
	receive(t, done, "done")
	fence(t, b, s.line.group, int(shard)+1) // up to and with its own shard: the leave is taken
	n := len(s.payloads())
	t.Cleanup(func() {
		if late := len(s.payloads()) - n; late > 0 {
			t.Errorf("%d messages came after the leave was taken", late)
		}
	})
}

func (s *stay) check(t *testing.T) (come int) {
	got := s.payloads()
	if s.err != nil {
		if !errors.Is(s.err, bus.ErrLeft) || len(got) > 0 {
			t.Errorf("done(%v), and %d messages came", s.err, len(got))
		}
		return 0
	}
	var first, last counts
	for _, payload := range got {
		var name string
		var p int
		var n int64
		if _, err := fmt.Sscanf(payload, "%s %d %d", &name, &p, &n); err != nil || name != s.line.group.String() {
			t.Fatalf("%q came to a member of %v (%v)", payload, s.line.group, err)
		}
		if first[p] == 0 {
			first[p] = n
		} else if n != last[p]+1 {
			t.Errorf("publisher %d: %d came after %d", p, n, last[p])
		}
		last[p] = n
	}
	for p := range simPublishers {
		switch {
		case first[p] != 0 && first[p] <= s.atJoin[p]:
			t.Errorf("publisher %d: %d came; %d had been published before the join", p, first[p], s.atJoin[p])
		case first[p] > s.atDone[p]+1:
			t.Errorf("publisher %d: %d came first; %d were published when the join was done", p, first[p], s.atDone[p])
		case s.atLeave[p] > s.atDone[p] && last[p] < s.atLeave[p]:
			t.Errorf("publisher %d: %d came last; %d had been published before the leave", p, last[p], s.atLeave[p])
		}
	}
	return len(got)
}
