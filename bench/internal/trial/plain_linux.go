package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/wire"
)

// plain is a plain send loop with clients of its own.
type plain struct {
	Fanout
	*floor.Loop
	listeners *crowd.Client
}

// plain starts the loop and connects its clients, of the same kind and number as the server's. The caller closes it.
func (o Fanout) plain(ctx context.Context, s *stage) (*plain, error) {
	listeners, err := s.crowd(ctx)
	if err != nil {
		return nil, err
	}
	loop, err := s.Loop(ctx, o.Members, wire.FrameSize(o.Size))
	if err != nil {
		return nil, err
	}
	got, err := listeners.Open(crowd.Open{
		Connections: o.Members, Address: loop.Address, Raw: true, Window: 64, Sources: 8, Reading: o.Reading, Timeout: stuck,
	})
	if err == nil && got.Open != o.Members {
		err = fmt.Errorf("of %d connections to the send loop %d are open: %s", o.Members, got.Open, got.Error)
	}
	if err == nil {
		err = loop.Ready()
	}
	if err != nil {
		return nil, errors.Join(err, loop.Close())
	}
	return &plain{Fanout: o, Loop: loop, listeners: listeners}, nil
}

// turn is one turn of the loop. It returns its CPU per send, in microseconds.
func (p *plain) turn() (each float64, err error) {
	if _, err := p.send(p.Warm); err != nil {
		return 0, err
	}
	c, err := p.send(p.Messages)
	return c.each(int64(p.Messages) * int64(p.Members)), err
}

// send sends messages and waits until the clients have them.
func (p *plain) send(messages int) (cost, error) {
	now, err := p.listeners.Count(crowd.Count{})
	if err != nil {
		return cost{}, err
	}
	want := now.Discarded + int64(messages)*int64(p.Members)*int64(wire.FrameSize(p.Size))
	return measure(p.PID(), func() error {
		await := make(chan error, 1)
		go func() {
			_, err := p.listeners.Await(crowd.Await{Discarded: want, Timeout: stuck})
			await <- err
		}()
		_, err := p.Loop.Run(messages, time.Duration(float64(time.Second)/p.Rate))
		return errors.Join(err, <-await)
	})
}
