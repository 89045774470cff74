"""`python -m robustbench_fgsm` is `rfgsm`."""

from robustbench_fgsm.cli.program import run_program

if __name__ == "__main__":
    run_program()
