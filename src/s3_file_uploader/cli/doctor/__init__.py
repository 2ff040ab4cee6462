"""What `check` looks at: folders, the machine, the store. It asks, and changes nothing unless told to.

| file | responsibility |
|---|---|
| `finding` | one line of the answer |
| `folders` | rights, evidence of writers, watches: what a rule's folders allow |
| `machine` | ledger, disk, limits, versions |
| `store` | credentials, bucket, clock, and a probe object where that was asked for |
"""
