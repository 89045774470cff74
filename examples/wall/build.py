"""Verify every attack of every package that has an adapter, and write the wall: `wall.json`, the page, drafts of reports.

python examples/wall/build.py                         # all packages: about an hour on two cores
python examples/wall/build.py captum==0.9.0           # one package; the other rows stay
python examples/wall/build.py --write                 # write the page and the drafts again from wall.json
"""

from __future__ import annotations

import argparse
import json
import platform
import re
from datetime import date
from pathlib import Path
from typing import Any

from robustbench_fgsm.errors import RfgsmError
from robustbench_fgsm.verification.package_environment import (
    Adapter,
    PackageAttack,
    package_environment,
    read_adapter,
    run_python,
    verify_in_environment,
)

FOLDER = Path(__file__).parent
DOCS = FOLDER.parents[1] / "docs" / "reference"
REPORTS = FOLDER / "reports"
IMAGES = 200
TIME_LIMIT = 60
"""Seconds that one call may take: other work may be running on this machine."""
PACKAGES = (
    "adv-lib==0.2.8",
    "adversarial-attacks==0.1",
    "adversarial-robustness-toolbox==1.17.1",
    "adversarial-robustness-toolbox==1.18.2",
    "adversarial-robustness-toolbox==1.20.1",
    "advertorch==0.2.3",
    "advsecurenet==0.2.3",
    "captum==0.9.0",
    "cleverhans==4.0.0",
    "deepillusion==0.3.3",
    "deeprobust==0.2.11",
    "foolbox==3.3.4",
    "robustness==1.2.1.post2",
    "secml-torch==1.5",
    "torchattack==1.7.2",
    "torchattacks==3.5.1",
    "torchensemble==0.2.0",
    "trojanzoo==2.0.3",
)
CLAIMS: dict[str, dict[str, str]] = json.loads((FOLDER / "claims.json").read_text(encoding="utf-8"))
"""Sentences of packages' documentation, by package and attack."""
REASON = "could not run"

Row = dict[str, Any]


def measure_package(text: str) -> list[Row]:
    """Return one row for each attack of a package."""
    package = PackageAttack.parse(text)
    adapter = read_adapter(package, FOLDER)
    attacks = [PackageAttack(package.name, package.version, name) for name in adapter.constants.ATTACKS]
    try:
        with package_environment(package, adapter) as python:
            rows = add_effects(python, adapter, [measure_attack(python, attack, adapter) for attack in attacks])
            return [row | {"date": date.today().isoformat()} for row in rows]  # a run may end on another day than it began
    except RfgsmError as error:
        return [new_row(attack, adapter) | {"verdict": REASON, "reason": one_sentence(str(error))} for attack in attacks]


def new_row(attack: PackageAttack, adapter: Adapter) -> Row:
    """Return what is known before anything is measured."""
    return {
        "package": attack.name,
        "version": attack.version,
        "attack": attack.attack,
        "claim": adapter.constants.ATTACKS[attack.attack].removeprefix("--method "),
        "date": date.today().isoformat(),
    }


def measure_attack(python: Path, attack: PackageAttack, adapter: Adapter) -> Row:
    """Return the row of one attack: its verdict, and the stages that are not right."""
    row = new_row(attack, adapter)
    try:
        document = verify_in_environment(python, attack, adapter, ["--time-limit", str(TIME_LIMIT)])
    except RfgsmError as error:
        return row | {"verdict": REASON, "reason": one_sentence(str(error))}
    names = ("stage", "verdict", "cause", "text", "expected", "remedy")
    return row | {
        "verdict": document["verdict"],
        "torch": document["environment"]["torch"],
        "python": platform.python_version(),
        "stages": [{name: stage[name] for name in names} for stage in document["stages"] if stage["verdict"] != "ok"],
        "harmless": [one["cause"] for one in document["harmless"]],
    }


def add_effects(python: Path, adapter: Adapter, rows: list[Row]) -> list[Row]:
    """Return the rows with the effect of each attack on robust accuracy, or with the error that it raised."""
    names = [row["attack"] for row in rows if row["verdict"] != REASON]
    if not names:
        return rows
    done = run_python(python, [str(FOLDER / "effect.py"), str(adapter.file), *names, "--images", str(IMAGES)])
    found = {line["attack"]: line for line in map(json.loads, done.stdout.splitlines())}
    for row in rows:
        line = found.get(row["attack"], {})
        if row["verdict"] == "incomplete" and "effect" not in line:  # it runs nowhere here, such as code for a GPU alone
            row |= {"verdict": REASON, "reason": one_sentence(line.get("effect_error", last_line(done.stderr)))}
        elif line:
            row |= {name: one_sentence(value) if name == "effect_error" else value for name, value in line.items()}
    return rows


def one_sentence(text: str) -> str:
    """Return the first sentence of an error, with the names of its files alone."""
    return re.sub(r"(?:/[^\s/:]+)+/", "", text).partition(". ")[0]


def last_line(text: str) -> str:
    """Return the last line of a text that is not empty."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def render_page(rows: list[Row]) -> str:
    """Return the page of the documentation."""
    ran = [row for row in rows if row["verdict"] != REASON]
    packages = {row["package"] for row in ran}
    wrong = [row for row in ran if row["verdict"] == "wrong"]
    header = "| package | version | attack | claimed method | verdict | wrong stages |\n|---|---|---|---|---|---|\n"
    lines = "".join(
        f"| {row['package']} | {row['version']} | `{row['attack']}` | {row['claim']} | {row['verdict']} | {stage_text(row)} |\n"
        for row in rows
    )
    return PAGE.format(
        packages=len(packages),
        attacks=len(ran),
        wrong=len(wrong),
        table=header + lines,
        findings="".join(map(finding, wrong)),
        images=IMAGES,
        first=min(row["date"] for row in rows),
        last=max(row["date"] for row in rows),
        torch=", ".join(sorted({row["torch"] for row in ran})),
        python=", ".join(sorted({row["python"] for row in ran})),
        effects=effect_table(ran),
    )


def stage_text(row: Row) -> str:
    """Return the wrong stages of a row in one cell, or why the attack could not run."""
    if row["verdict"] == REASON:
        return cell(row["reason"])
    return cell("; ".join(f"{stage['stage']}: {stage['text']}" for stage in row["stages"] if stage["verdict"] == "wrong"))


def cell(text: str) -> str:
    """Return a text that cannot break a table of Markdown."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def effect_table(rows: list[Row]) -> str:
    """Return a table with a row for each attack, and the images that stay right on each network."""
    networks = list(dict.fromkeys(one["network"] for row in rows for one in row.get("effect", ())))
    lines = [f"| package | version | attack | {' | '.join(networks)} |", "|---" * (3 + len(networks)) + "|"]
    for row in rows:
        if "effect" in row:
            cells = " | ".join(effect_text(row, network) for network in networks)
            lines.append(f"| {row['package']} | {row['version']} | `{row['attack']}` | {cells} |")
    return "\n".join(lines) + "\n"


def effect_text(row: Row, network: str) -> str:
    """Return how many images of a network stay right at each epsilon: after the package's attack, and after ours."""
    found = [one for one in row["effect"] if one["network"] == network]
    return "; ".join(f"{one['robust']}, {one['robust_right']}" for one in found) + f" of {found[0]['images']}"


def finding(row: Row) -> str:
    """Return the section of one attack that is not right."""
    title = f"### {row['package']} {row['version']}: {row['attack']}\n\n"
    command = f"```console\n$ rfgsm verify --package {row['package']}=={row['version']}:{row['attack']}\n```\n\n"
    stages = "".join(f"- {stage['stage']}: {stage['text']}.{expected_text(stage)}\n" for stage in row["stages"])
    claim = CLAIMS.get(row["package"], {}).get(row["attack"])
    said = f"\nThe documentation says: “{claim}”\n" if claim else ""
    if error := row.get("effect_error"):
        said += f"\nOn {IMAGES} images of Fashion-MNIST it raises `{error}`.\n"
    networks = dict.fromkeys(one["network"] for one in row.get("effect", ()))
    short = {network: [str(one["short"]) for one in row["effect"] if one["network"] == network] for network in networks}
    effects = "".join(f"| {network} | {effect_text(row, network)} | {', '.join(short[network])} |\n" for network in networks)
    head = "\n| network | still right at 8, 16 and 30/255: theirs, ours | images moved at least 5 % less far |\n|---|---|---|\n"
    return title + command + stages + said + (head + effects if effects else "") + "\n"


def expected_text(stage: dict[str, str]) -> str:
    """Return what was expected of a stage as a sentence; empty for a stage that was not measured."""
    return f" Expected: {stage['expected']}." if stage["expected"] else ""


PAGE = """# The wall: public attacks, measured

{packages} packages of the registry, {attacks} attacks, {wrong} of them not as the definition of their method says. Each row is one
run of `rfgsm verify --package` on Python {python} and PyTorch {torch}, in an environment of its own, from {first} to {last}.
[`wall.json`](wall.json) holds all numbers, with versions and dates. `examples/wall/` holds the adapters. These commands measure one
package, all packages, and one attack of a package with an adapter of your own:

```console
$ python examples/wall/build.py captum==0.9.0
$ python examples/wall/build.py
$ rfgsm verify --package NAME==VERSION:ATTACK --adapters FOLDER
```

{table}
## Robust accuracy

Images that stay right at 8, 16 and 30/255: after the package's attack, and after our attack of the same method. All see the first
images of Fashion-MNIST. Under norm 2 ε is multiplied by the root of the number of pixels. Attacks with a random start differ by
chance.

{effects}
## Findings

{findings}"""

REPORT = """Title: {attack}: {summary}

Version: {package} {version}, PyTorch {torch}, Python {python}, measured {date}.

{finding}
How to see it:

```console
$ pip install robustbench_fgsm
$ rfgsm verify --package {package}=={version}:{attack}
```
"""


def write_wall(rows: list[Row]) -> None:
    """Write `wall.json`, the page and one draft of a bug report for each attack that is not right."""
    rows = sorted(rows, key=lambda row: (row["package"], row["version"]))
    (DOCS / "wall.json").write_text(json.dumps(rows, indent=1) + "\n")
    (DOCS / "wall.md").write_text(render_page(rows))
    REPORTS.mkdir(exist_ok=True)
    for file in REPORTS.glob("*.md"):
        file.unlink()
    for row in rows:
        if row["verdict"] == "wrong":
            summary = "; ".join(f"{one['stage']}: {one['text']}" for one in row["stages"] if one["verdict"] == "wrong")
            draft = REPORT.format(summary=summary, finding=finding(row).partition("\n\n")[2].partition("```\n\n")[2], **row)
            (REPORTS / f"{row['package']}-{row['version']}-{row['attack']}.md").write_text(draft)


def main() -> None:
    """Measure the named packages, keep the rows of the others, and write the wall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", help="NAME==VERSION; all if left out")
    parser.add_argument("--write", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    stored = DOCS / "wall.json"
    rows: list[Row] = json.loads(stored.read_text()) if stored.exists() else []
    for text in () if arguments.write else arguments.packages or PACKAGES:
        package = PackageAttack.parse(text)
        rows = [row for row in rows if (row["package"], row["version"]) != (package.name, package.version)]
        rows += measure_package(text)
        write_wall(rows)
        for row in rows:
            if row["package"] == package.name and row["version"] == package.version:
                print(text, row["attack"], row["verdict"], row.get("reason", ""), flush=True)
    write_wall(rows)


if __name__ == "__main__":
    main()
