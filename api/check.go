package api

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Check is one condition of being ready.
type Check struct {
	// Name says what is checked, as in "bus". It is shown, and unique in a Config.
	Name string
	// OK returns nil when the condition holds, or says what is wrong; the text is shown to whoever asks. It must not
	// block. It is never called twice at once.
	OK func() error
	// Grace is how long OK must have failed before the check counts as failed. 0: at once.
	Grace time.Duration
	// Recover is how long OK must have succeeded, after the check counted as failed, before it holds again. 0: at
	// once. The first success of all counts at once.
	Recover time.Duration
}

// graced reports whether the check must be watched between requests.
func (c Check) graced() bool { return c.Grace > 0 || c.Recover > 0 }

var errRecovering = errors.New("works again, but not for long enough yet")

// Status is a check's answer, as /readyz?verbose shows it.
type Status struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Error is why the check fails. It is set, too, while OK is still true within Grace: the answer is about to change.
	Error string `json:"error,omitempty"`
	// Since is when OK took its value, as far as somebody looked.
	Since time.Time `json:"since"`
}

// probe is a check with its history.
type probe struct {
	// Fixed after newProbe.
	check  Check
	logger *slog.Logger

	mu sync.Mutex
	// Guarded by mu.
	asked    bool      // there is an answer
	held     bool      // the check has held at least once
	ok       bool      // the answer
	since    time.Time // of the answer
	contrary time.Time // since when OK says the contrary of the answer; zero: it does not
}

func newProbe(c Check, logger *slog.Logger) *probe { return &probe{check: c, logger: logger} }

// ask calls OK, and returns the check's answer in the light of what OK said before.
func (p *probe) ask() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.check.OK()
	p.observe(time.Now(), err)
	s := Status{Name: p.check.Name, OK: p.ok, Since: p.since.UTC()}
	if err == nil && !p.ok {
		err = errRecovering
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

// observe changes the answer when err has contradicted it for long enough. The caller holds mu.
func (p *probe) observe(now time.Time, err error) {
	ok := err == nil
	if p.asked && ok == p.ok {
		p.contrary = time.Time{}
		return
	}
	if p.asked && p.held { // else there is nothing to hold on to
		if p.contrary.IsZero() {
			p.contrary = now
		}
		patience := p.check.Grace
		if ok {
			patience = p.check.Recover
		}
		if now.Sub(p.contrary) < patience {
			return
		}
	}
	if !ok {
		p.logger.Warn("not ready", "check", p.check.Name, "error", err)
	} else if p.asked {
		p.logger.Info("ready again", "check", p.check.Name, "after", now.Sub(p.since))
	}
	p.asked, p.held, p.ok, p.since, p.contrary = true, p.held || ok, ok, now, time.Time{}
}
