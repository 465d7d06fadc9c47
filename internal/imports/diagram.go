package imports

import (
	"fmt"
	"slices"
	"strings"
)

// Diagram draws which rooms import which, a line a room, below those that they
// import.
func Diagram(rules []Rule) string {
	height := map[string]int{}
	var heightOf func(room string) int
	heightOf = func(room string) int {
		if h, known := height[room]; known {
			return h
		}
		height[room] = 0 // rules have no cycles; Go would not build them
		for _, rule := range rules {
			if rule.Room != room {
				continue
			}
			for _, below := range rule.Rooms {
				height[room] = max(height[room], heightOf(below)+1)
			}
			if slices.Contains(rule.Rooms, Everything) {
				height[room] = len(rules)
			}
		}
		return height[room]
	}
	sorted := slices.Clone(rules)
	slices.SortStableFunc(sorted, func(a, b Rule) int {
		if d := heightOf(a.Room) - heightOf(b.Room); d != 0 {
			return d
		}
		return strings.Compare(a.Room, b.Room)
	})
	var b strings.Builder
	for _, rule := range sorted {
		if len(rule.Rooms) == 0 {
			fmt.Fprintf(&b, "%s\n", rule.Room)
			continue
		}
		rooms := slices.Sorted(slices.Values(rule.Rooms))
		text := strings.Join(rooms, ", ")
		if slices.Contains(rooms, Everything) {
			text = "everything"
		}
		fmt.Fprintf(&b, "%-24s ← %s\n", rule.Room, text)
	}
	return b.String()
}
