#!/usr/bin/env bash
# What: the FinOps Foundation's validator on a file that has every column of FOCUS 1.0 as the specification names it.
# Guess: it passes; after a column is taken out it names the column and exits 1.
# Seen (focus-validator 1.0.0, the only release on PyPI, rule set 1.0): six rules fail. It asks for columns InvoiceIssuer, Provider,
#   Publisher and ResourceID, where the specification has InvoiceIssuerName, ProviderName, PublisherName and ResourceId; a
#   quantity of 7 is no decimal, because pandas reads whole numbers as integers (7.5 is one); a rule of SkuPriceId reads
#   ChargeType, which became ChargeCategory in 1.0. The currency is wrong wherever it is not started in the folder that
#   holds the package: its list has a relative path. And it exits 0 whatever fails. Installed by its own requirements
#   alone it does not start: pandera 0.17 needs a multimethod below 2.
# Why it matters: a pipeline that asks for its exit code checks nothing, and one that asks for its words refuses good files.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check focus-validator==1.0.0 'multimethod==1.11.2'
cat > "$dir/run.py" <<'PY'
import csv, pathlib, subprocess, sys

import focus_validator

ROW = {
    "AvailabilityZone": "", "BilledCost": "1.5", "BillingAccountId": "a-1", "BillingAccountName": "A", "BillingCurrency": "USD",
    "BillingPeriodEnd": "2026-10-01T00:00:00Z", "BillingPeriodStart": "2026-09-01T00:00:00Z", "ChargeCategory": "Usage",
    "ChargeClass": "", "ChargeDescription": "d", "ChargeFrequency": "Usage-Based", "ChargePeriodEnd": "2026-09-24T13:00:00Z",
    "ChargePeriodStart": "2026-09-24T12:00:00Z", "CommitmentDiscountCategory": "", "CommitmentDiscountId": "",
    "CommitmentDiscountName": "", "CommitmentDiscountStatus": "", "CommitmentDiscountType": "", "ConsumedQuantity": "7.5",
    "ConsumedUnit": "Tokens", "ContractedCost": "1.5", "ContractedUnitPrice": "0.2", "EffectiveCost": "1.5",
    "InvoiceIssuerName": "I", "ListCost": "1.5", "ListUnitPrice": "0.2", "PricingCategory": "Standard", "PricingQuantity": "7",
    "PricingUnit": "Tokens", "ProviderName": "P", "PublisherName": "P", "RegionId": "", "RegionName": "", "ResourceId": "r-1",
    "ResourceName": "r", "ResourceType": "Session", "ServiceCategory": "AI and Machine Learning", "ServiceName": "S",
    "SkuId": "s", "SkuPriceId": "s", "SubAccountId": "", "SubAccountName": "", "Tags": "{}",
}
EXPECTED = {
    "InvoiceIssuer_Required", "Provider_Required", "Publisher_Required", "ResourceID_Required", "PricingQuantity_IsDecimal",
    "SkuPriceId_Nullable",
}
here = pathlib.Path(sys.argv[1])
with open(here / "focus.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, ROW)
    writer.writeheader()
    writer.writerow(ROW)


def failures(folder):
    command = [sys.executable, "-c", "from focus_validator.main import main; main()", "--data-file", str(here / "focus.csv")]
    done = subprocess.run([*command, "--validate-version", "1.0"], capture_output=True, text=True, cwd=folder)
    return {x.split()[0] for x in done.stdout.splitlines() if x.endswith(" failed:")}, done.returncode


found, code = failures(pathlib.Path(focus_validator.__file__).parent.parent)
elsewhere, _ = failures(here)
print("focus-validator 1.0.0, rule set 1.0, python", sys.version.split()[0])
print(f"  fails {', '.join(sorted(found))}; exit code {code}")
print(f"  started elsewhere also {', '.join(sorted(elsewhere - found))}")
is_same = (found, code, elsewhere - found) == (EXPECTED, 0, {"BillingCurrency_IsCurrencyCode"})
sys.exit(not is_same and "CHANGED: expected six failures, exit code 0, and the currency elsewhere")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir"
