package config

import "strings"

// nearest returns the candidate that s is most likely a slip of, or "" where none is near: at most one edit (insert,
// delete, replace, swap) for every three letters, two at least, and fewer edits than letters.
func nearest(s string, candidates []string) string {
	limit := min(max(2, len(s)/3), len(s)-1)
	best, found := limit+1, ""
	for _, c := range candidates {
		if d := editDistance(s, c); d < best {
			best, found = d, c
		}
	}
	if found != "" {
		return found
	}
	for _, c := range candidates { // a part of the name: "ping" for ping_interval
		if len(s) > 2 && strings.Contains(c, s) {
			return c
		}
	}
	return ""
}

// editDistance is the optimal string alignment distance of the bytes.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
