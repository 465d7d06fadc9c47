package evaluators

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/mix"
)

// mixture is a weighted sum of evaluators that were listed before.
func mixture() Kind {
	return Kind{
		Name: "mix", Source: "evaluators listed before with their weights: pickscore=1,ocr=0.5; options optional and map-weights",
		Open: func(_ context.Context, s Spec, at Place) (reward.Evaluator, error) {
			var o struct {
				// Optional names members that are left out of samples they fail for.
				Optional []string `json:"optional"`
				// MapWeights are the members' shares in the combined map.
				MapWeights map[string]float64 `json:"map-weights"`
			}
			if err := s.Options.Decode(&o); err != nil {
				return nil, err
			}
			members, err := readMembers(s.Source, at)
			if err != nil {
				return nil, err
			}
			named := func(name string) bool {
				return slices.ContainsFunc(members, func(m mix.Member) bool { return m.Name == name })
			}
			for _, name := range o.Optional {
				if !named(name) {
					return nil, fmt.Errorf("optional: %.80q is no member", name)
				}
			}
			for name := range o.MapWeights {
				if !named(name) {
					return nil, fmt.Errorf("map-weights: %.80q is no member", name)
				}
			}
			for i := range members {
				members[i].Optional = slices.Contains(o.Optional, members[i].Name)
				members[i].MapWeight = o.MapWeights[members[i].Name]
			}
			return mix.New(s.Name, members)
		},
	}
}

// readMembers reads "pickscore=1,ocr=0.5"; a weight that is left out is 1.
func readMembers(source string, at Place) ([]mix.Member, error) {
	var members []mix.Member
	for _, item := range strings.Split(source, ",") {
		name, text, given := strings.Cut(strings.TrimSpace(item), "=")
		weight := 1.0
		if given {
			var err error
			if weight, err = strconv.ParseFloat(text, 64); err != nil {
				return nil, fmt.Errorf("source: %.80q is not NAME=WEIGHT", item)
			}
		}
		e, err := at.Member(name)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		members = append(members, mix.Member{Name: name, Evaluator: e, Weight: weight})
	}
	return members, nil
}
