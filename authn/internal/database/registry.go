package database

import (
	"context"
	"sync"
	"time"
)

// Registry shares connections between those who open the same database with the same limits. The zero value is ready; a nil
// one shares nothing. Its methods may be called by many goroutines.
type Registry struct {
	// Guarded by mu.
	mu    sync.Mutex
	pools map[poolKey]*pool
}

// poolKey is what those who share connections have in common.
type poolKey struct {
	dsn      string
	timeout  time.Duration
	maxConns int
}

// pool is a database's connections, with the number of those who hold them.
type pool struct {
	// Fixed after Open.
	dialect  Dialect
	backend  backend
	registry *Registry // nil: there is one holder
	key      poolKey

	// Guarded by registry.mu.
	holders int
}

// Open is the function [Open], but that connections are shared. ctx bounds the call only. Closing every DB releases all
// that the registry holds.
func (r *Registry) Open(ctx context.Context, c Config) (*DB, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	p, err := r.hold(ctx, c)
	if err != nil {
		return nil, err
	}
	db := &DB{pool: p, observe: c.Observe}
	if db.observe == nil {
		db.observe = func(int) {}
	}
	return db, nil
}

// hold returns the pool for c, opened where it is not there yet, with one more holder.
func (r *Registry) hold(ctx context.Context, c Config) (*pool, error) {
	p := &pool{registry: r, key: poolKey{c.DSN, c.Timeout, c.MaxConns}, holders: 1}
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if there := r.pools[p.key]; there != nil {
			there.holders++
			return there, nil
		}
	}
	var err error
	if p.dialect, p.backend, err = openBackend(ctx, c); err != nil {
		return nil, err
	}
	if r != nil {
		if r.pools == nil {
			r.pools = map[poolKey]*pool{}
		}
		r.pools[p.key] = p
	}
	return p, nil
}

// release gives the pool up for one holder. The last one closes it.
func (p *pool) release() error {
	if r := p.registry; r != nil {
		r.mu.Lock()
		p.holders--
		last := p.holders == 0
		if last {
			delete(r.pools, p.key)
		}
		r.mu.Unlock()
		if !last {
			return nil
		}
	}
	return p.backend.close()
}
