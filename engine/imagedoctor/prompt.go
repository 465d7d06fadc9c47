package imagedoctor

const (
	imagePad          = "<|image_pad|>"
	visionStart       = "<|vision_start|>"
	visionEnd         = "<|vision_end|>"
	misalignmentToken = "<|misalignment|>"
	artifactToken     = "<|artifact|>"
)
