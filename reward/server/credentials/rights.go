package credentials

import (
	"fmt"
	"slices"
	"strings"
)

// Rights say what a token lets its owner do.
type Rights struct {
	Score   bool // have samples scored, and ask what there is to score with
	Metrics bool // read the metrics
	Admin   bool // see what others do, and all of the above
}

var rightNames = []string{"score", "metrics", "admin"}

// parseRights reads the last field of a line, if it is there.
func parseRights(field []string) (Rights, error) {
	if len(field) == 0 {
		return Rights{true, true, true}, nil
	}
	names := strings.Split(field[0], ",")
	for _, name := range names {
		if !slices.Contains(rightNames, name) {
			return Rights{}, fmt.Errorf("a right that is none of %s", strings.Join(rightNames, ", "))
		}
	}
	admin := slices.Contains(names, "admin")
	return Rights{
		Score: admin || slices.Contains(names, "score"), Metrics: admin || slices.Contains(names, "metrics"), Admin: admin,
	}, nil
}

// Has reports whether a right is among them, by its name in the file.
func (r Rights) Has(right string) bool {
	switch right {
	case "score":
		return r.Score
	case "metrics":
		return r.Metrics
	}
	return r.Admin
}
