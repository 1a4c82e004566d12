"""Small data sets in the official form of each suite: a few lines, and empty files for videos."""

import csv
import json

from zoo.data.labels import order


def write(path, text):
    """A text file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def touch(folder, *names):
    """Empty files that stand for videos."""
    for name in names:
        write(folder / name, "")


def kinetics(root, names):
    """Official lists of the last names, in reverse; videos in class folders of train/, flat in val/."""
    for split, word in (("train", "train"), ("val", "validate")):
        root.mkdir(parents=True, exist_ok=True)
        with open(root / f"{split}.csv", "w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
            for number, name in enumerate(names[:-4:-1]):
                video, start = f"{'_' if split == 'val' else '-'}{number:010d}", 10 * number
                rows.writerow([name, video, start, start + 10, word])
                folder = f"train/{name.replace(' ', '_')}" if split == "train" else "val"
                touch(root, f"{folder}/{video}_{start:06d}_{start + 10:06d}.mp4")


def k400(root):
    kinetics(root, order("k400_alphabetical").names)


def k600(root):
    names = [f"class {number:03d}" for number in range(600)]
    write(root / "label_map_k600.txt", "\n".join(names))
    kinetics(root, names)


def k700(root):
    names = [f"class {number:03d}" for number in range(700)]
    write(root / "classes.txt", "\n".join(names))
    kinetics(root, names)


def k710(root):
    for number, folder in ((400, "videos_{}"), (600, "videos"), (700, "videos")):
        for split in ("train", "val"):
            names = [f"{split}_{number}_{place}.mp4" for place in range(2)]
            lines = "".join(f"{name} {number}\n" for name in names)
            write(root / f"kinetics710/k{number}_{split}_list_videos.txt", lines)
            touch(root / f"kinetics{number}" / folder.format(split), *names)


def ssv2(root):
    names = order("ssv2").names
    numbers = {name: str(number) for number, name in enumerate(names)}
    write(root / "something-something-v2-labels.json", json.dumps(numbers))
    for split, count in (("train", 3), ("validation", 2)):
        items = [
            {
                "id": f"{count}{label}",
                "label": names[label].lower(),
                "template": names[label].replace("something", "[something]"),
                "placeholders": ["a cup"],
            }
            for label in range(count)
        ]
        write(root / f"something-something-v2-{split}.json", json.dumps(items))
        touch(root / "20bn-something-something-v2", *(f"{item['id']}.webm" for item in items))


def mit(root):
    names = [f"class+{number:03d}" for number in range(339)]
    write(root / "moments_categories.txt", "".join(f"{name},{number}\n" for number, name in enumerate(names)))
    for file, folder in (("trainingSet.csv", "training"), ("validationSet.csv", "validation")):
        listed = [(f"{name}/yt-{folder}_{label}.mp4", name) for label, name in enumerate(names[:2])]
        write(root / file, "".join(f"{path},{name},3,0\n" for path, name in listed))
        touch(root / folder, *(path for path, _ in listed))


def in1k(root):
    names = [f"n{10_000_000 + 7 * number}" for number in range(1000)]
    write(root / "LOC_synset_mapping.txt", "".join(f"{name} a thing, it\n" for name in reversed(names)))
    for split, count in (("train", 3), ("val", 2)):
        touch(root / split, *(f"{name}/{split}_{name}.JPEG" for name in names[:count]))


def ucf101(root):
    names = [f"Class{number:03d}" for number in range(101)]
    folder = root / "ucfTrainTestlist"
    write(folder / "classInd.txt", "".join(f"{number + 1} {name}\r\n" for number, name in enumerate(names)))
    for split in (1, 2, 3):
        train = [f"{name}/v_{name}_g0{split}_c01.avi" for name in names[:3]]
        test = [f"{name}/v_{name}_g1{split}_c01.avi" for name in names[:2]]
        write(folder / f"trainlist0{split}.txt", "".join(f"{path} {label + 1}\n" for label, path in enumerate(train)))
        write(folder / f"testlist0{split}.txt", "".join(f"{path}\n" for path in test))
        touch(root / "UCF-101", *train, *test)


def hmdb51(root):
    for number in range(51):
        for split in (1, 2, 3):
            lines = [f"{kind}_{split}_{number}.avi {kind} \n" for kind in (0, 1, 2) if number < 2 or kind == 0]
            write(root / f"testTrainMulti_7030_splits/class_{number:02d}_test_split{split}.txt", "".join(lines))
            touch(root / f"class_{number:02d}", *(line.split(" ")[0] for line in lines))


def finegym288(root):
    lines = [f"Clabel: {label}; set: 1; Glabel: {label + 1}; (VT) element {label}\n" for label in range(288)]
    write(root / "gym288_categories.txt", "".join(lines))
    for file, count in (("gym288_train_element_v1.1.txt", 3), ("gym288_val_element.txt", 2)):
        names = [f"A0xAXXysHUo_E_00218{count}_002237_A_0035_003{label}" for label in range(count)]
        write(root / file, "".join(f"{name} {label}\n" for label, name in enumerate(names)))
        touch(root / "subactions", *(f"{name}.mp4" for name in names))


WRITERS = {it.__name__: it for it in (k400, k600, k700, k710, ssv2, mit, in1k, ucf101, hmdb51, finegym288)}
