package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// fewConnections is what the kernel's settings are held against where limits.connections says nothing.
const fewConnections = 10_000

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// machine looks at the limits of the process and of the kernel.
func (d *doctor) machine() {
	connections := d.openFiles()
	d.sysctls(connections)
}

// openFiles looks at how many descriptors the process may have, and returns how many connections the node would take, or
// is meant to take.
func (d *doctor) openFiles() int {
	c := d.config.Config
	files, err := openFiles()
	if err != nil {
		d.note("open files", fails, err.Error(), "")
		return fewConnections
	}
	reserve := reservedFiles + c.Limits.Handshakes + authnFiles(c)
	room := max(int(min(files, math.MaxInt32))-reserve, 0)
	raise := fmt.Sprintf("raise it to at least %d: LimitNOFILE= in the systemd unit, ulimits in a container, or ulimit -n", max(c.Limits.Connections, fewConnections)+reserve)
	found := fmt.Sprintf("at most %d, which leaves room for %d connections", files, room)
	switch want := c.Limits.Connections; {
	case room == 0 || want > room:
		d.note("open files", fails, fmt.Sprintf("%s; limits.connections is %d", found, want), raise)
	case want == 0 && room < fewConnections:
		d.note("open files", warns, found, raise)
	default:
		d.note("open files", fine, found, "")
	}
	if c.Limits.Connections > 0 {
		return c.Limits.Connections
	}
	return min(room, fewConnections)
}

// sysctl is a setting of the kernel and what it should be at least.
type sysctl struct {
	name  string
	field int // of several numbers, which
	want  int
	why   string
}

// kernelPerSocket is what the kernel's memory for TCP should have for each connection: what an idle one takes, and a
// message that waits.
const kernelPerSocket = 20 << 10

// sysctls looks at the kernel's settings, where there are any to be read.
func (d *doctor) sysctls(connections int) {
	page := os.Getpagesize()
	seen := 0
	for _, s := range []sysctl{
		{"net.core.somaxconn", 0, 1024, "connections that come at once wait there to be accepted; what does not fit is lost"},
		{"net.ipv4.tcp_max_syn_backlog", 0, 1024, "the same, before their handshake of TCP is done"},
		{"fs.file-max", 0, 2 * connections, "all open files of this machine"},
		{"fs.nr_open", 0, connections + 1024, "the most that any process may have open"},
		{"net.ipv4.tcp_mem", 2, connections * kernelPerSocket / page, "pages of memory for all sockets; above it the kernel drops what is sent"},
		{"net.netfilter.nf_conntrack_max", 0, 2 * connections, "connections that the firewall keeps track of; above it new ones are dropped"},
	} {
		b, err := os.ReadFile(filepath.Join(d.system, filepath.FromSlash(strings.ReplaceAll(s.name, ".", "/"))))
		if err != nil {
			continue // another system, or the module is not loaded
		}
		fields := strings.Fields(string(b))
		if s.field >= len(fields) {
			continue
		}
		have, err := strconv.ParseUint(fields[s.field], 10, 64)
		if err != nil {
			continue
		}
		seen++
		if have >= uint64(max(s.want, 0)) {
			d.note(s.name, fine, fields[s.field], "")
			continue
		}
		fields[s.field] = strconv.Itoa(s.want)
		d.note(s.name, warns, fmt.Sprintf("%d is little for %d connections: %s", have, connections, s.why),
			"sysctl -w "+s.name+"="+shellQuote(strings.Join(fields, " ")))
	}
	if seen == 0 {
		d.note("kernel", warns, "its settings cannot be read here", "look at the limits of TCP and of open files by hand")
	}
}
