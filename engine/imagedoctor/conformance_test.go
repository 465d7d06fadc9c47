package imagedoctor

import (
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func TestImageDoctorIsAnEvaluator(t *testing.T) {
	t.Parallel()
	e := loadSmall(t, nil, Options{})
	rewardtest.Run(t, func() reward.Evaluator { return e })
}
