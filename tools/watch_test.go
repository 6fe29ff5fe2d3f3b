package tools_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alertRules is the part of deploy/prometheus/alerts.yml that is checked; promtool checks the rest, end to end.
type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// dashboard is the part of deploy/grafana/dashboard.json that is checked.
type dashboard struct {
	UID    string
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ RefID, Expr, LegendFormat string }
	}
}

func readAlerts(t *testing.T) alertRules {
	t.Helper()
	var a alertRules
	if err := yaml.Unmarshal([]byte(readFile(t, "deploy/prometheus/alerts.yml")), &a); err != nil {
		t.Fatalf("alerts.yml: %v", err)
	}
	return a
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readFile(t, "deploy/grafana/dashboard.json")), &d); err != nil {
		t.Fatalf("dashboard.json: %v", err)
	}
	return d
}

// metricLabels are the labels of each metric that there is, by its name.
func metricLabels(t *testing.T) map[string][]string {
	t.Helper()
	labels := map[string][]string{}
	golden := readFile(t, "cmd/fairlead/testdata/metrics.golden")
	for _, m := range regexp.MustCompile(`(?m)^(fairlead_\w+)\{([\w,]*)\} (\w+):`).FindAllStringSubmatch(golden, -1) {
		names := append(strings.Split(m[2], ","), "instance", "job")
		labels[m[1]] = names
		if m[3] == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				labels[m[1]+suffix] = append(names, "le")
			}
		}
	}
	if len(labels) < 40 {
		t.Fatalf("%d metrics in the golden list", len(labels))
	}
	return labels
}

// Metrics that are not the nodes' own: Prometheus' and Go's.
var foreign = []string{"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds"}

// selector is a metric with the labels that it is selected by.
var selector = regexp.MustCompile(`\b(fairlead_\w+|process_\w+|up\b)(?:\{([^}]*)\})?`)

// unknown says what an expression of PromQL names that is not there, or returns "".
func unknown(expr string, labels map[string][]string, documented string) string {
	found := selector.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 {
		return "no metric at all"
	}
	for _, m := range found {
		known, ok := labels[m[1]]
		if !ok && !slices.Contains(foreign, m[1]) {
			return "the metric " + m[1]
		}
		for _, l := range regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			if ok && !slices.Contains(known, l[1]) {
				return "the label " + l[1] + " of " + m[1]
			}
			if l[1] == "instance" || l[1] == "job" || l[1] == "le" {
				continue
			}
			for value := range strings.SplitSeq(l[2], "|") {
				if !strings.Contains(documented, "`"+value+"`") {
					return "the value " + value + " of " + l[1]
				}
			}
		}
	}
	return ""
}

// TestUnknown shows that the check can fail, and on what.
func TestUnknown(t *testing.T) {
	labels := map[string][]string{"fairlead_a_total": {"reason"}, "fairlead_s_bucket": {"le"}}
	for expr, want := range map[string]string{
		`rate(fairlead_a_total{reason=~"x|y"}[5m]) > 0`: "",
		`fairlead_s_bucket / on () up`:                  "",
		`fairlead_b_total`:                              "the metric fairlead_b_total",
		`fairlead_a_total + fairlead_s`:                 "the metric fairlead_s",
		`fairlead_a_total{code="x"}`:                    "the label code of fairlead_a_total",
		`fairlead_a_total{reason!="z"}`:                 "the value z of reason",
		`process_threads`:                               "the metric process_threads",
		`vector(1)`:                                     "no metric at all",
	} {
		if got := unknown(expr, labels, "`x`, `y`"); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// TestAlerts: each alert is made of metrics that there are, has a test, and is explained in docs/runbook.md; and nothing is
// explained that is no alert.
func TestAlerts(t *testing.T) {
	labels := metricLabels(t)
	documented := readFile(t, "docs/metrics.md") + readFile(t, "docs/refusals.md")
	tests, runbook := readFile(t, "deploy/prometheus/alerts_test.yml"), readFile(t, "docs/runbook.md")
	var names []string
	for _, g := range readAlerts(t).Groups {
		for _, r := range g.Rules {
			names = append(names, r.Alert)
			if what := unknown(r.Expr, labels, documented); what != "" {
				t.Errorf("%s: there is not %s", r.Alert, what)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" {
				t.Errorf("%s: no summary", r.Alert)
			}
			if want := "https://github.com/fairlead-ws/fairlead/blob/main/docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
				t.Errorf("%s: runbook_url %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
			}
			for _, how := range []string{", firing\n", ", silent\n"} {
				if !strings.Contains(tests, "- name: "+r.Alert+how) {
					t.Errorf("alerts_test.yml has no test %q", r.Alert+how)
				}
			}
			_, page, ok := strings.Cut(runbook, "\n### "+r.Alert+"\n")
			page, _, _ = strings.Cut(page, "\n#")
			if !ok || !strings.Contains(page, "\n`"+r.Labels["severity"]+"`. ") || !strings.Contains(page, "\n- **Look**: ") || !strings.Contains(page, "\n- **Do**: ") {
				t.Errorf("%s: docs/runbook.md does not say how severe it is, where to look and what to do", r.Alert)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(runbook, -1) {
		if !slices.Contains(names, m[1]) {
			t.Errorf("docs/runbook.md explains %s, which is no alert", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`fairlead_\w+`).FindAllString(runbook, -1) {
		if labels[m] == nil {
			t.Errorf("docs/runbook.md names %s, which is no metric", m)
		}
	}
	if len(names) < 20 || len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("the alerts are %q", names)
	}
}

// TestDashboard: each panel shows metrics that there are, from the data source that is provisioned, in a place of its own.
func TestDashboard(t *testing.T) {
	labels, documented := metricLabels(t), readFile(t, "docs/metrics.md")+readFile(t, "docs/refusals.md")
	d := readDashboard(t)
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	shown := 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: want an ID of its own and a title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies on %q, or beyond the right side", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		shown++
		if p.Description == "" || p.Datasource.UID == "" || !strings.Contains(readFile(t, "deploy/grafana/datasource.yml"), "uid: "+p.Datasource.UID+"\n") {
			t.Errorf("panel %q: description %q, data source %q", p.Title, p.Description, p.Datasource.UID)
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if what := unknown(target.Expr, labels, documented); what != "" {
				t.Errorf("panel %q: there is not %s", p.Title, what)
			}
		}
	}
	if shown < 20 || d.UID != "fairlead" {
		t.Errorf("dashboard %q with %d panels", d.UID, shown)
	}
}

// TestScrape: the job that the alerts and the dashboard name is the one of prometheus.yml.
func TestScrape(t *testing.T) {
	var c struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "deploy/prometheus/prometheus.yml")), &c); err != nil {
		t.Fatal(err)
	}
	var jobs []string
	for _, s := range c.ScrapeConfigs {
		jobs = append(jobs, s.JobName)
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`job=\\?"(\w+)\\?"`).FindAllStringSubmatch(readFile(t, "deploy/prometheus/alerts.yml")+readFile(t, "deploy/grafana/dashboard.json"), -1) {
		used[m[1]] = true
		if !slices.Contains(jobs, m[1]) {
			t.Errorf("the job %s is not one of %q", m[1], jobs)
		}
	}
	if !used["fairlead"] || !slices.Equal(c.RuleFiles, []string{"alerts.yml"}) {
		t.Errorf("jobs %v are used, the rules are %q", used, c.RuleFiles)
	}
}
