package reward

// Groups say which samples share statistics.
type Groups struct {
	// Names has one name a sample; nil groups by prompt.
	Names []string
	// Step, if set, makes groups span requests: all samples whose requests
	// give the same step and whose group has the same name belong together,
	// and each request is answered when its groups have Size members.
	Step string
	Size int
	// Members are the samples' places in their groups, in [0,Size). With them
	// a retry takes the place of its first try, and a missing member is named.
	// Nil numbers the samples of each group by arrival.
	Members []int
	// Count is the number of groups in the step. It is required where
	// statistics span groups (Advantage.GlobalStd); each request is then
	// answered when the whole step is there.
	Count int
}
