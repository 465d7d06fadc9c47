package imports

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Unused returns a line for each rule whose room has no Go file, and for each
// room or library that a rule allows and no file of the room imports, sorted.
func Unused(tree fs.FS, rules []Rule) ([]string, error) {
	imported := map[string]map[string]bool{} // by room, what its files import
	err := walk(tree, func(name, folder string) error {
		rule, ok := ruleFor(folder, rules)
		if !ok {
			return nil // Check reports it
		}
		targets, err := importsOf(tree, name)
		if err != nil {
			return err
		}
		if imported[rule.Room] == nil {
			imported[rule.Room] = map[string]bool{}
		}
		for _, target := range targets {
			imported[rule.Room][target] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var unused []string
	for _, rule := range rules {
		targets, ok := imported[rule.Room]
		if !ok {
			unused = append(unused, fmt.Sprintf("%s has no Go file", rule.Room))
			continue
		}
		unused = append(unused, unusedOf(rule, targets, rules)...)
	}
	slices.Sort(unused)
	return unused, nil
}

// unusedOf is what a rule allows beside the targets that its room imports.
func unusedOf(rule Rule, targets map[string]bool, rules []Rule) []string {
	var unused []string
	for _, room := range rule.Rooms {
		used := room == Everything
		for target := range targets {
			folder, local := strings.CutPrefix(target, Module+"/")
			other, known := ruleFor(folder, rules)
			used = used || local && known && other.Room == room
		}
		if !used {
			unused = append(unused, fmt.Sprintf("%s may import %s and does not", rule.Room, room))
		}
	}
	for _, lib := range rule.Libs {
		used := lib == Everything
		for target := range targets {
			used = used || within(target, lib)
		}
		if !used {
			unused = append(unused, fmt.Sprintf("%s may import %s and does not", rule.Room, lib))
		}
	}
	return unused
}
