"""Its being here lets the tests in folders below import `retrieval_cases`."""
