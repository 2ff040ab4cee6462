"""An open, local Stream Manager: what AWS IoT Greengrass offers its components, to develop and test against.

`protocol` is what stands on the wire, `store` keeps streams on the disk, `export` carries tasks to S3,
`server` answers clients, `command` is what a person types.
"""
