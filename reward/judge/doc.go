// Package judge reads judge files: how a vision-language model is asked about an
// image, and how its answer becomes scores and boxes.
//
// A judge file is TOML:
//
//	name = "unifiedreward-2"
//	source = "arXiv 2503.05236"
//	system = ""                # system text; "" sends none
//	prompt = "Caption: {prompt} ..."   # {prompt} stands for the sample's prompt, once or more
//	image_size = [512, 512]    # width and height that images are resized to; none leaves them
//	image_last = false         # the image goes behind the text instead of before it
//	max_new_tokens = 512
//
//	[[score]]
//	name = "alignment"
//	pattern = 'Alignment Score[^:]*:\s*([\d.]+)'   # the first group is the number
//	min = 1
//	max = 5
//	weight = 0.16              # its share in the scalar reward
//
//	[boxes]
//	block = '(?s)<answer>(.*?)</answer>'   # where to look; all of the answer without it
//	box = "box_2d"             # names within an object of the JSON list
//	label = "label"
//	description = "description"
//	importance = "importance"
//	order = "xyxy"             # or "yxyx"
//	scale = 1000               # of the coordinates
//
//	[probability]              # the probability of a token at the first place of the answer
//	name = "yes"
//	tokens = ["Yes"]
//	against = ["No"]           # p/(p+q) where given, p without it
//	weight = 1
//
// Of several places that a pattern matches the first counts. A number that is not there
// is missing, and a sample's error where all of them are. One that cannot be read or lies
// outside its range is its sample's error, and so are boxes that cannot be read: no boxes
// would say that the image is right. An answer that was cut off before all was there is an error
// too.
//
// The files of [Names] are embedded.
package judge
