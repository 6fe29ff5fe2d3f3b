package main

import (
	"context"
	"errors"
	"os"

	"github.com/fairlead-ws/fairlead/bench/channels"
	"github.com/fairlead-ws/fairlead/bench/internal/django"
	"github.com/fairlead-ws/fairlead/bench/internal/postgres"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/trial"
)

// users is how many people the site of a run has: one for each connection of the largest trial.
const users = 15000

// site is a database server with the tables of a Django site.
type site struct {
	server *postgres.Server
	tables *django.Site
}

// startDjango returns the database of the run, and makes it the first time.
func (p *place) startDjango(ctx context.Context) (*trial.Django, error) {
	if p.django == nil {
		address, err := server.FreeAddress("")
		if err != nil {
			return nil, err
		}
		p.say("making a database with %d users", users)
		s, err := postgres.Start(ctx, address)
		if err != nil {
			return nil, err
		}
		tables, err := django.Fill(ctx, s.DSN(), users)
		if err != nil {
			return nil, errors.Join(err, s.Stop())
		}
		p.django = &site{server: s, tables: tables}
	}
	d := p.django
	return &trial.Django{
		DSN: d.server.DSN(), Secret: django.Secret, Tokens: d.tables.Tokens, Cookies: d.tables.Cookies,
		Queries: d.tables.Queries, Revoke: d.tables.Revoke,
	}, nil
}

// close ends what the place has started for the whole run, and removes the folder.
func (p *place) close(ctx context.Context) (err error) {
	if p.django != nil {
		err = errors.Join(p.django.tables.Close(ctx), p.django.server.Stop())
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

func (p *place) startChannels(ctx context.Context, name string) (*trial.Target, error) {
	d, err := p.startDjango(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(p.dir, "channels-")
	if err != nil {
		return nil, err
	}
	address, err := server.FreeAddress("")
	if err != nil {
		return nil, err
	}
	s, err := channels.Start(ctx, dir, name, address, d.DSN, d.Secret)
	if err != nil {
		return nil, err
	}
	return &trial.Target{PID: s.PID(), Address: address, Stop: s.Stop}, nil
}
