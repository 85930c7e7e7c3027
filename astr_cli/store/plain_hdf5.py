"""HDF5 without what leads out of the file: links, external storage and virtual datasets read any file of this machine.

Filters and chunks are refused as well: a few bytes could claim gigabytes, and astr writes neither.
"""

import h5py


class NotPlainError(ValueError):
    """A part of an HDF5 file that astr does not follow; the message says which."""


def is_there(group: h5py.Group, name: str) -> bool:
    """Whether a group has such an entry, without a look at where it leads."""
    return bool(group.id.links.exists(name.encode()))


def plain_group(group: h5py.Group, name: str) -> h5py.Group:
    """A group within a group. Raises NotPlainError: a link, or no group; KeyError: missing."""
    found = _entry(group, name)
    if not isinstance(found, h5py.Group):
        raise NotPlainError(f"{name} is not a group")
    return found


def plain_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset whose content lies in the file as it is. Raises NotPlainError, and KeyError: missing."""
    found = _entry(group, name)
    if not isinstance(found, h5py.Dataset):
        raise NotPlainError(f"{name} is not a dataset")
    properties = found.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise NotPlainError(f"{name} takes its content from another file")
    if properties.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise NotPlainError(f"{name} is chunked or compressed, which astr never writes")
    if found.id.get_storage_size() != found.nbytes:
        raise NotPlainError(f"{name} claims {found.nbytes} bytes and holds {found.id.get_storage_size()}")
    return found


def _entry(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | h5py.Datatype:
    if not is_there(group, name):
        raise KeyError(f"no {name}")
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise NotPlainError(f"{name} is a link to another place or file")
    return group[name]
