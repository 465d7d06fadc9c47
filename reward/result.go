package reward

// Map is a map of flaws over the whole image: Height*Width values in [0,1], row
// major; 1 means "flawed here".
type Map struct {
	Height, Width int
	Data          []float32
}

// Box is a region that the evaluator looked at: [x0,y0,x1,y1] in thousandths
// of the image's width and height, with the label and importance (0 to 100)
// it was given; Importance is 100 where none was stated.
type Box struct {
	Coords     [4]float64
	Label      string // "artifact", "misalignment" or "" where unstated
	Importance float64
}

// Trace holds the token ids of one generation.
type Trace struct {
	InputIDs     []int32
	GeneratedIDs []int32 // without the answer prefix, with the end token if it was reached
}

// Result is what an evaluator found in one sample. When Err is set nothing
// else is.
type Result struct {
	Scores []float64 // in the order of Description.Scores; 0 where missing
	Maps   []Map     // in the order of Description.Maps
	// Missing names the scores and maps that the answer lacks.
	Missing []string
	Text    string // the generated answer
	Boxes   []Box
	Trace   Trace
	// Generation is set in ModeGenerate, in place of all above.
	Generation *Generation
	Err        error
}
