package clip

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// testdata/make_openclip_text.py wrote the strings and what open_clip makes of them.
func TestTextIsCleanedAsOpenCLIPCleansIt(t *testing.T) {
	f, err := os.Open("testdata/openclip_text.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Text, Clean string }
	if err := json.NewDecoder(r).Decode(&cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 1500 {
		t.Fatalf("%d cases", len(cases))
	}
	wrong := 0
	for _, c := range cases {
		if got := openCLIPText(c.Text); got != c.Clean {
			if wrong++; wrong < 10 {
				t.Errorf("%+q becomes\n%+q, want\n%+q", c.Text, got, c.Clean)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d differ", wrong, len(cases))
	}
}

func TestLongRunsAreNotBrokenUp(t *testing.T) {
	run := strings.Repeat("\u3161", 100)
	if got := openCLIPText(run + "e\u0301"); got != run+"é" {
		t.Errorf("%+q", got)
	}
}
