"""scikit-learn's classifiers as torch modules say what scikit-learn says, and so do their exports."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier

from preloader.errors import ExportError
from preloader.learning.export import to_coreml, to_onnx
from preloader.learning.sklearn_modules import OUTPUTS, as_module
from preloader.learning.verify import verify

MODELS = {
    "logistic": lambda: LogisticRegression(),
    "forest": lambda: RandomForestClassifier(8, random_state=1),
    "extra": lambda: ExtraTreesClassifier(8, random_state=1),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=12, random_state=1),
}


def rows(count, classes, seed=0):
    drawn = np.random.default_rng(seed)
    features = drawn.normal(size=(count, 5)).astype(np.float32)
    features[:, 4] = np.round(features[:, 4])  # so that values meet thresholds exactly
    score = features[:, 0] + features[:, 4] * features[:, 1] + 0.3 * drawn.normal(size=count)
    return features, np.digitize(score, np.linspace(-1, 1, classes - 1))


def said(module, features):
    with torch.no_grad():
        return module(torch.from_numpy(features)).exp().numpy()


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_the_classifiers(name, classes):
    features, labels = rows(400, classes)
    model = MODELS[name]().fit(features, labels)
    others, _ = rows(500, classes, seed=1)
    for given in (features, others):
        np.testing.assert_allclose(said(as_module(model), given), model.predict_proba(given), atol=1e-5)


def test_a_feature_just_at_a_threshold_goes_the_classifiers_way():
    features, labels = rows(300, 3)
    model = ExtraTreesClassifier(10, random_state=2).fit(features, labels)
    thresholds = np.unique(np.concatenate([one.tree_.threshold for one in model.estimators_])).astype(np.float32)
    for step in (-np.inf, np.inf, None):
        beside = thresholds if step is None else np.nextafter(thresholds, np.float32(step))
        given = np.tile(beside[:, None], 5)
        np.testing.assert_allclose(said(as_module(model), given), model.predict_proba(given), atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(3, max_depth=2, random_state=1),
        HistGradientBoostingClassifier(max_iter=2, max_depth=2, random_state=1),
    ],
)
def test_exports_are_verified_like_a_network(model, tmp_path):
    module = as_module(model.fit(*rows(300, 3)))
    features, _ = rows(1_000, 3, seed=1)
    example = {"features": torch.zeros(1, 5)}
    to_coreml(module, example, tmp_path / "m.mlpackage", "fp32", OUTPUTS)
    onnx = to_onnx(module, example, OUTPUTS)
    found = verify(module, {"features": features}, onnx, {"fp32": tmp_path / "m.mlpackage"}, OUTPUTS)
    assert max(one.differences["log_probabilities"] for one in found.models.values()) <= 1e-5


def several(model):
    features, labels = rows(50, 3)
    return model.fit(features, np.stack([labels, labels], 1))


def categorical():
    features, labels = rows(50, 3)
    return HistGradientBoostingClassifier(max_iter=1, categorical_features=[4]).fit(np.abs(np.round(features)), labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Ridge, "a Ridge has no module"),
        (lambda: MultiOutputClassifier(LogisticRegression()), "a MultiOutputClassifier has no module"),
        (LogisticRegression, "is not fitted"),
        (lambda: several(RandomForestClassifier(2)), "predicts 2 outputs at once"),
        (categorical, "has categorical features"),
    ],
)
def test_what_cannot_be_exported_is_said(make, words):
    with pytest.raises(ExportError, match=words):
        as_module(make())
