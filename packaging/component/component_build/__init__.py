"""Builds the Greengrass component: `gdk component build` and `make component` come here.

| file | responsibility |
|---|---|
| `command` | the arguments, the order of the steps, what is said |
| `project` | gdk-config.json, the program's version, where things lie |
| `recipe` | the recipe without comments, its placeholders filled in |
| `archive` | the artifact: what belongs into it, and the same bytes each time |
| `pins` | requirements/*.txt: which versions, with which hashes |
| `wheels` | what pip downloads, and the folder where it stays for the next build |
| `refusal` | the one kind of error |

Standard library only, Python 3.8 or newer: it runs with whatever `python3` is where the GDK is.
"""
