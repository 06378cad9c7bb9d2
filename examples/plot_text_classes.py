"""
Which words should a text classifier trust?
===========================================

Words of a topic tell topics apart; the commonest words are grammar, and the rarest are
seen too seldom to learn from. ``BilevelLogisticCV`` fits a strength per word on
sparse tf-idf weights. Documents are generated, so that the words that matter are known.
"""

# %%
# Documents as strings
# --------------------
# Three topics share 3000 words, drawn with frequencies as in natural text. Each topic
# has 30 words of its own among the middle ranks, which it uses three times as often.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skbilevel import BilevelLogisticCV

TOPICS = ("finance", "garden", "music")
rng = np.random.default_rng(0)
base = 1.0 / np.arange(5, 3005)
middle = rng.permutation(np.arange(30, 800))
topic_words = {t: middle[30 * k : 30 * (k + 1)] for k, t in enumerate(TOPICS)}


def write(topic):
    """Return a document of about eighty words."""
    frequency = base.copy()
    frequency[topic_words[topic]] *= 3.0
    words = rng.choice(3000, size=rng.poisson(80), p=frequency / frequency.sum())
    return " ".join(f"word{j}" for j in words)


y = rng.choice(TOPICS, size=900)
texts = [write(topic) for topic in y]
train, test, y_train, y_test = train_test_split(texts, y, random_state=0)

# %%
# Two models behind the same vectorizer
# -------------------------------------

grid = GridSearchCV(
    LogisticRegression(max_iter=1000),
    {"C": np.logspace(-2, 3, 11)},
    scoring="neg_log_loss",
)
scores = {}
for name, classifier in {
    "one strength": grid,
    "one per word": BilevelLogisticCV(),
}.items():
    model = make_pipeline(TfidfVectorizer(min_df=2, sublinear_tf=True), classifier)
    model.fit(train, y_train)
    loss = log_loss(y_test, model.predict_proba(test))
    scores[name] = (loss, accuracy_score(y_test, model.predict(test)))
    print(f"{name:<14} log loss {loss:.3f}, accuracy {scores[name][1]:.3f}")

# %%
# ``C_`` against the number of training documents that hold a word. Words of topics are
# red; the model was not told which they are.

words = model[0].get_feature_names_out()
rank = np.array([int(word.removeprefix("word")) for word in words])
of_topic = np.isin(rank, np.concatenate(list(topic_words.values())))
frequency = (model[0].transform(train) > 0).sum(axis=0)
frequency = np.asarray(frequency).ravel()
C = model[-1].C_
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for chosen, color, label in (
    (~of_topic, "tab:gray", "other words"),
    (of_topic, "tab:red", "words of a topic"),
):
    drawn = chosen & (C > 0)
    ax.loglog(frequency[drawn], C[drawn], ".", ms=4, color=color, label=label)
ratio = np.median(C[of_topic & (C > 0)]) / np.median(C[~of_topic & (C > 0)])
ax.set_title(f"Words of a topic have {ratio:.1f} times the C of others")
ax.set(
    xlabel="training documents that hold the word",
    ylabel="C of the word (up: shrunk less)",
)
ax.legend()
plt.show()

# %%
# The answer
# ----------

top = np.argsort(C)[::-1][:90]
change = scores["one per word"][0] / scores["one strength"][0] - 1
print(
    f"Of the 90 words that are shrunk least, {np.sum(of_topic[top])} belong to a topic "
    f"(chance: {90 * of_topic.mean():.0f}); log loss changes by {change:+.0%}, "
    f"accuracy from {scores['one strength'][1]:.3f} to {scores['one per word'][1]:.3f}."
)
