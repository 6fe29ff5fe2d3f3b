package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/fairlead-ws/fairlead/session"
)

const (
	// purgeEvery is how often epochs that have ended are looked for, if that is not too seldom for the retention.
	purgeEvery = time.Hour
	// purgeTimeout is how long one look may take.
	purgeTimeout = time.Minute
)

// purge removes epochs that ended long ago, until the journal is closed. Every node does: it does no harm twice.
//
// An epoch has ended with its seal. One without a seal counts as ended when its last message is older than twice the
// retention: a node that lives writes one each quarter of it, even if nothing happens. A node that was cut off from NATS
// for as long finds its records gone, and announces its sessions again.
func (j *JetStream) purge(ctx context.Context) {
	tick := time.NewTicker(min(purgeEvery, max(j.config.Retention/8, time.Millisecond)))
	defer tick.Stop()
	for {
		if err := j.purgeOnce(ctx); err != nil && ctx.Err() == nil {
			j.log.Debug("journal: cannot look for epochs that have ended", "err", err)
		}
		select {
		case <-tick.C:
		case <-j.stopped:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (j *JetStream) purgeOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	s, err := j.js.Stream(ctx, j.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(j.prefix+"*"))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		epoch, err := session.ParseEpoch(strings.TrimPrefix(subject, j.prefix))
		if err != nil || epoch == j.config.Epoch {
			continue
		}
		last, err := lastOf(ctx, s, subject)
		if err != nil {
			return err
		}
		keep := 2 * j.config.Retention
		if last.sealed() {
			keep = j.config.Retention
		}
		if last.sequence == 0 || info.TimeStamp.Sub(last.time) < keep { // both by the servers' clock
			continue
		}
		// Not what may have come since.
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(last.sequence+1)); err != nil {
			return fmt.Errorf("epoch %s: %w", epoch, err)
		}
		j.metrics.purged.Inc()
		j.log.Info("journal: removed an epoch that ended long ago", "epoch", epoch.String(), "last", last.time)
	}
	return nil
}
