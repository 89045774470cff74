"""`python -m robustbench_fgsm` is `rfgsm`."""

from robustbench_fgsm.cli.main import main

if __name__ == "__main__":
    main()
