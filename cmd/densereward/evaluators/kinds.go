package evaluators

// Kinds are the kinds of evaluators that this program has.
func Kinds() Registry {
	return Registry{
		imageDoctor(),
		qwenVL(),
		pickScore(),
		clipScore(),
		hpsV2(),
		aesthetic(),
		textInImage(),
		remoteJudge(),
		anotherServer(),
		imageModel(),
		mixture(),
	}
}
