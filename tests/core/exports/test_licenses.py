"""Licences, as SPDX and as model cards spell them"""

import pytest

from artifactstore.core.exports.licenses import hub_license, spdx_license


@pytest.mark.parametrize(
    ("text", "spdx", "hub"),
    [
        ("mit", "MIT", "mit"),
        ("Apache-2.0", "Apache-2.0", "apache-2.0"),
        ("GPL-3.0-or-later", "GPL-3.0-or-later", "gpl-3.0"),
        ("LGPL-2.1-only", "LGPL-2.1-only", "lgpl-2.1"),
        ("GPL-2.0+", "GPL-2.0+", "gpl-2.0"),
        ("ODbL-1.0", "ODbL-1.0", "odbl"),
        ("LGPLLR", "LGPLLR", "lgpl-lr"),
        ("mit or isc", "MIT OR ISC", None),
        ("LicenseRef-Mine", "LicenseRef-Mine", None),
        ("Llama3.1", None, "llama3.1"),
        ("openrail++", None, "openrail++"),
        ("openrail+", None, None),
        ("gemma-only", None, None),
        ("other", None, None),
        ("Mine, all mine", None, None),
    ],
)
def test_spellings(text, spdx, hub):
    assert (spdx_license(text), hub_license(text)) == (spdx, hub)
