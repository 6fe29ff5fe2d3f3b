package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements [kong.HelpProvider].
func (completionCmd) Help() string {
	return `Examples:

    source <(fairlead completion bash)      # in ~/.bashrc
    source <(fairlead completion zsh)       # in ~/.zshrc, behind compinit
    fairlead completion fish > ~/.config/fish/completions/fairlead.fish`
}

// Run prints the script.
func (cmd completionCmd) Run(c *console, parser *kong.Kong) error {
	write := map[string]func([]completion) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	_, err := fmt.Fprint(c.stdout, write[cmd.Shell](completions(parser.Model.Node, "")))
	return err
}

// completion is what can follow one command.
type completion struct {
	path  string // the words of the command behind "fairlead", with spaces between
	words []completionWord
}

type completionWord struct {
	text   string   // a subcommand, a choice of an argument, or a flag with its dashes
	help   string   // one sentence
	value  bool     // a flag that takes a value
	values []string // the values that there are, where there is a list
}

// completions walks the commands from node on.
func completions(node *kong.Node, path string) []completion {
	c := completion{path: path}
	var below []completion
	for _, child := range node.Children {
		c.words = append(c.words, completionWord{text: child.Name, help: firstSentence(child.Help)})
		below = append(below, completions(child, strings.TrimSpace(path+" "+child.Name))...)
	}
	for _, arg := range node.Positional {
		if arg.Enum != "" {
			for _, choice := range arg.EnumSlice() {
				c.words = append(c.words, completionWord{text: choice})
			}
		}
	}
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			w := completionWord{text: "--" + f.Name, help: firstSentence(f.Help), value: !f.IsBool() && f.Name != "help"}
			if f.Enum != "" {
				w.values = f.EnumSlice()
			}
			c.words = append(c.words, w)
		}
	}
	return append([]completion{c}, below...)
}

func firstSentence(s string) string {
	s, _, _ = strings.Cut(s, ". ")
	return strings.TrimSuffix(s, ".")
}

// shellQuote returns s as one word of bash, zsh or fish.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// commandCase is the body of a case statement, for bash and zsh, that finds the command's path. Words that are no command
// leave the path as it is.
func commandCase(list []completion) string {
	var b strings.Builder
	for _, c := range list {
		if c.path != "" {
			parent, name := "", c.path
			if i := strings.LastIndexByte(c.path, ' '); i >= 0 {
				parent, name = c.path[:i], c.path[i+1:]
			}
			fmt.Fprintf(&b, "      %s) at=%s ;;\n", shellQuote(parent+":"+name), shellQuote(c.path))
		}
	}
	return b.String()
}

// valueCase is the body of a case statement, for bash and zsh, that offers the values of the flag before the cursor.
func valueCase(list []completion, offer func(values string) string) string {
	var b strings.Builder
	for _, c := range list {
		for _, w := range c.words {
			if w.value {
				fmt.Fprintf(&b, "    %s) %s return ;;\n", shellQuote(c.path+":"+w.text), offer(strings.Join(w.values, " ")))
			}
		}
	}
	return b.String()
}

func bashCompletion(list []completion) string {
	var b strings.Builder
	b.WriteString("# bash completion for fairlead\n_fairlead() {\n" +
		"  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" at='' words='' i\n" +
		"  COMPREPLY=()\n" +
		"  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"$at:${COMP_WORDS[i]}\" in\n")
	b.WriteString(commandCase(list))
	b.WriteString("    esac\n  done\n  case \"$at:$prev\" in\n")
	b.WriteString(valueCase(list, func(values string) string {
		if values == "" {
			return `COMPREPLY=($(compgen -f -- "$cur"));`
		}
		return fmt.Sprintf(`COMPREPLY=($(compgen -W %s -- "$cur"));`, shellQuote(values))
	}))
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, c := range list {
		texts := make([]string, len(c.words))
		for i, w := range c.words {
			texts[i] = w.text
		}
		fmt.Fprintf(&b, "    %s) words=%s ;;\n", shellQuote(c.path), shellQuote(strings.Join(texts, " ")))
	}
	b.WriteString("  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _fairlead fairlead\n")
	return b.String()
}

func zshCompletion(list []completion) string {
	var b strings.Builder
	b.WriteString("#compdef fairlead\n_fairlead() {\n" +
		"  local at='' i\n  local -a words_here\n" +
		"  for ((i = 2; i < CURRENT; i++)); do\n    case \"$at:${words[i]}\" in\n")
	b.WriteString(commandCase(list))
	b.WriteString("    esac\n  done\n  case \"$at:${words[CURRENT-1]}\" in\n")
	b.WriteString(valueCase(list, func(values string) string {
		if values == "" {
			return "_files;"
		}
		return "compadd -- " + values + ";"
	}))
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, c := range list {
		fmt.Fprintf(&b, "    %s) words_here=(", shellQuote(c.path))
		for _, w := range c.words {
			fmt.Fprintf(&b, "\n      %s", shellQuote(w.text+":"+w.help))
		}
		b.WriteString(") ;;\n")
	}
	b.WriteString("  esac\n  _describe fairlead words_here\n}\ncompdef _fairlead fairlead\n")
	return b.String()
}

func fishCompletion(list []completion) string {
	var b strings.Builder
	b.WriteString("# fish completion for fairlead\n" +
		"function __fairlead_at\n  set -l at\n  for word in (commandline -opc)[2..-1]\n    switch \"$at:$word\"\n")
	for line := range strings.Lines(commandCase(list)) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), ") at=")
		fmt.Fprintf(&b, "      case %s\n        set at %s\n", name, strings.TrimSuffix(path, " ;;"))
	}
	b.WriteString("    end\n  end\n  test \"$at\" = \"$argv[1]\"\nend\ncomplete -c fairlead -f\n")
	for _, c := range list {
		at := shellQuote("__fairlead_at \"" + c.path + "\"")
		for _, w := range c.words {
			name, isFlag := strings.CutPrefix(w.text, "--")
			fmt.Fprintf(&b, "complete -c fairlead -n %s", at)
			switch {
			case !isFlag:
				fmt.Fprintf(&b, " -a %s", name)
			case len(w.values) > 0:
				fmt.Fprintf(&b, " -l %s -x -a %s", name, shellQuote(strings.Join(w.values, " ")))
			case w.value:
				fmt.Fprintf(&b, " -l %s -r -F", name)
			default:
				fmt.Fprintf(&b, " -l %s", name)
			}
			if w.help != "" {
				fmt.Fprintf(&b, " -d %s", shellQuote(w.help))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
