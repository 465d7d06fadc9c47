package wire

// Limits bound what a Request may claim before anything is allocated for it.
type Limits struct {
	BodyBytes     int64 // of the whole request
	Samples       int   // prompts, and so images, in one request
	PromptBytes   int   // of each prompt
	NameBytes     int   // of each group, step, decoder and evaluator name
	MetadataBytes int   // of each sample's metadata, as it travels
	ImagePixels   int   // of each decoded image
	MapCells      int   // of one kind of map: samples times cells of the dense grid
	GroupSize     int   // members of a group that spans requests
}

// DefaultLimits are those a server has unless it is told otherwise.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes:     256 << 20,
		Samples:       256,
		PromptBytes:   64 << 10,
		NameBytes:     64 << 10, // groups are named after their prompts by default
		MetadataBytes: 16 << 20, // a reference image fits
		ImagePixels:   64 << 20,
		MapCells:      16 << 20,
		GroupSize:     4096,
	}
}
