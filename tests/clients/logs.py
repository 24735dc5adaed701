"""Keeps and reads logs on a running host with boto3 and the aws CLI, and checks what callers see.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face, AGENT the tests' agent.
"""

import json
import os
import subprocess
import sys
import time

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from checks import expect, launch, logged, refused

REGION = os.environ["AWS_DEFAULT_REGION"]
logs = boto3.client("logs", config=Config(retries={"total_max_attempts": 1}))
GROUP = "/desk/orders"
ARN = f"arn:aws:logs:{REGION}:000000000000:log-group:{GROUP}"
NOW = int(time.time() * 1000)


def cli(*arguments):
    ran = subprocess.run(["aws", "logs", *arguments, "--output", "json"], capture_output=True, text=True)
    expect(f"aws logs {arguments[0]}: exit code", (ran.returncode, ran.stderr), (0, ""))
    return json.loads(ran.stdout) if ran.stdout.strip() else None


def put(stream, *events, group=GROUP):
    batch = [{"timestamp": NOW + moment, "message": message} for moment, message in events]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=batch)


def found(**wanted):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, **wanted)
    return [event["message"] for page in pages for event in page["events"]]


def groups_and_streams():
    logs.create_log_group(logGroupName=GROUP, tags={"team": "red"})
    refused("a twin", "ResourceAlreadyExistsException", "The specified log group already exists", logs.create_log_group, logGroupName=GROUP)
    cli("create-log-group", "--log-group-name", "/desk/other")
    described = logs.describe_log_groups(logGroupNamePrefix="/desk/o")["logGroups"]
    expect("groups", [group["logGroupName"] for group in described], [GROUP, "/desk/other"])
    expect("a group", [described[0][name] for name in ("arn", "logGroupArn", "storedBytes", "metricFilterCount", "logGroupClass")], [f"{ARN}:*", ARN, 0, 0, "STANDARD"])
    expect("no retention yet", "retentionInDays" in described[0], False)
    cli("put-retention-policy", "--log-group-name", GROUP, "--retention-in-days", "7")
    expect("retention", logs.describe_log_groups(logGroupNamePattern="orders")["logGroups"][0]["retentionInDays"], 7)
    refused("a retention that is none", "InvalidParameterException", "enum value set", logs.put_retention_policy, logGroupName=GROUP, retentionInDays=8)
    logs.delete_retention_policy(logGroupName=GROUP)
    logs.tag_resource(resourceArn=ARN, tags={"stage": "prod"})
    logs.untag_resource(resourceArn=f"{ARN}:*", tagKeys=["team"])
    expect("tags", logs.list_tags_for_resource(resourceArn=ARN)["tags"], {"stage": "prod"})
    logs.tag_log_group(logGroupName=GROUP, tags={"old": "way"})
    logs.untag_log_group(logGroupName=GROUP, tags=["stage"])
    expect("tags, the older way", logs.list_tags_log_group(logGroupName=GROUP)["tags"], {"old": "way"})
    for name in ["a", "b", "c"]:
        cli("create-log-stream", "--log-group-name", GROUP, "--log-stream-name", name)
    refused("a twin stream", "ResourceAlreadyExistsException", "The specified log stream already exists", logs.create_log_stream, logGroupName=GROUP, logStreamName="a")
    pages = logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 1})
    names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    expect("paging", (GROUP in names, "/desk/other" in names, names == sorted(names)), (True, True, True))


def events():
    put("a", (0, "ERROR one"), (20, "WARN two"))
    put("b", (10, '{"level": "ERROR", "ms": 20, "path": "/x"}'), (30, '{"level": "INFO", "ms": 5}'))
    cli("put-log-events", "--log-group-name", GROUP, "--log-stream-name", "c", "--log-events", json.dumps([{"timestamp": NOW + 40, "message": "ERROR two words"}]))
    lines = ["ERROR one", '{"level": "ERROR", "ms": 20, "path": "/x"}', "WARN two", '{"level": "INFO", "ms": 5}', "ERROR two words"]
    expect("all", found(), lines)
    expect("by page", found(PaginationConfig={"PageSize": 1}), lines)
    for pattern, wanted in [
        ("ERROR", [0, 1, 4]), ("ERROR -one", [1, 4]), ('"two words"', [4]), ("?one ?WARN", [0, 2]), ("{ $.ms > 10 }", [1]),
        ('{ $.level = "INFO" || $.path = "/*" }', [1, 3]), ("{ $.path NOT EXISTS }", [3]), ("absent", []),
    ]:
        expect(pattern, found(filterPattern=pattern), [lines[index] for index in wanted])
    expect("of streams", found(logStreamNames=["a", "c"]), [lines[0], lines[2], lines[4]])
    expect("of a prefix", found(logStreamNamePrefix="b"), [lines[1], lines[3]])
    expect("of a time", found(startTime=NOW + 10, endTime=NOW + 20), lines[1:3])
    event = logs.filter_log_events(logGroupIdentifier=ARN, limit=1)["events"][0]
    expect("an event", (event["logStreamName"], event["timestamp"], event["ingestionTime"] >= NOW, len(event["eventId"])), ("a", NOW, True, 56))

    # A stream is read from either end, and on from where one was.
    about = dict(logGroupName=GROUP, logStreamName="a")
    page = logs.get_log_events(**about, limit=1)
    expect("the end", [event["message"] for event in page["events"]], ["WARN two"])
    older = logs.get_log_events(**about, limit=1, nextToken=page["nextBackwardToken"])
    expect("before it", [event["message"] for event in older["events"]], ["ERROR one"])
    end = logs.get_log_events(**about, nextToken=older["nextBackwardToken"])
    expect("nothing more", (end["events"], end["nextBackwardToken"]), ([], older["nextBackwardToken"]))
    ahead = logs.get_log_events(**about, nextToken=page["nextForwardToken"])
    expect("nothing new", (ahead["events"], ahead["nextForwardToken"]), ([], page["nextForwardToken"]))
    put("a", (50, "new"))
    expect("something new", [event["message"] for event in logs.get_log_events(**about, nextToken=ahead["nextForwardToken"])["events"]], ["new"])
    expect("from the head", [event["message"] for event in logs.get_log_events(**about, startFromHead=True, endTime=NOW + 50)["events"]], ["ERROR one", "WARN two"])

    by_time = [stream["logStreamName"] for stream in cli("describe-log-streams", "--log-group-name", GROUP, "--order-by", "LastEventTime", "--descending")["logStreams"]]
    expect("streams by time", by_time, ["a", "c", "b"])
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 2})
    streams = [stream for page in pages for stream in page["logStreams"]]
    expect("streams", [(stream["logStreamName"], stream["firstEventTimestamp"], stream["lastEventTimestamp"]) for stream in streams],
           [("a", NOW, NOW + 50), ("b", NOW + 10, NOW + 30), ("c", NOW + 40, NOW + 40)])
    expect("a stream's ARN", streams[0]["arn"], f"{ARN}:log-stream:a")
    stored = sum(len(line) + 26 for line in [*lines, "new"])
    expect("a group's weight", logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"][0]["storedBytes"], stored)


def what_is_refused():
    day = 24 * 60 * 60 * 1000
    rejected = put("b", (-15 * day, "old"))["rejectedLogEventsInfo"]
    expect("too old", rejected, {"tooOldLogEventEndIndex": 1})
    expect("too new", put("b", (3 * 60 * 60 * 1000, "new"))["rejectedLogEventsInfo"], {"tooNewLogEventStartIndex": 0})
    logs.put_retention_policy(logGroupName="/desk/other", retentionInDays=1)
    logs.create_log_stream(logGroupName="/desk/other", logStreamName="s")
    expect("expired", put("s", (-2 * day, "old"), group="/desk/other")["rejectedLogEventsInfo"], {"expiredLogEventEndIndex": 1})
    about = dict(logGroupName=GROUP, logStreamName="a")
    disorder = [{"timestamp": NOW + 1, "message": "x"}, {"timestamp": NOW, "message": "y"}]
    for what, code, message, call, arguments in [
        ("disorder", "InvalidParameterException", "chronological order", logs.put_log_events, {**about, "logEvents": disorder}),
        ("a group's name", "InvalidParameterException", "regular expression pattern: [\\.\\-_/#A-Za-z0-9]+", logs.create_log_group, {"logGroupName": "a b"}),
        ("no group", "ResourceNotFoundException", "The specified log group does not exist.", logs.describe_log_streams, {"logGroupName": "nobody"}),
        ("no stream", "ResourceNotFoundException", "The specified log stream does not exist.", logs.get_log_events, {**about, "logStreamName": "nobody"}),
        ("no stream to put to", "ResourceNotFoundException", "The specified log stream does not exist.", logs.put_log_events, {**about, "logStreamName": "nobody", "logEvents": disorder[:1]}),
        ("an order", "InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix", logs.describe_log_streams, {"logGroupName": GROUP, "logStreamNamePrefix": "a", "orderBy": "LastEventTime"}),
        ("a pattern", "InvalidParameterException", "Invalid filter pattern", logs.filter_log_events, {"logGroupName": GROUP, "filterPattern": "{ $.a }"}),
        ("a token", "InvalidParameterException", "nextToken is invalid", logs.filter_log_events, {"logGroupName": GROUP, "nextToken": "x"}),
        ("a key", "InvalidParameterException", "kmsKeyId", logs.create_log_group, {"logGroupName": "k", "kmsKeyId": "arn:aws:kms:us-east-1:000000000000:key/x"}),
        ("an operation", "UnknownOperationException", "DescribeSubscriptionFilters is not served here", logs.describe_subscription_filters, {"logGroupName": GROUP}),
        ("no filter", "ResourceNotFoundException", "The specified metric filter does not exist.", logs.delete_metric_filter, {"logGroupName": GROUP, "filterName": "nobody"}),
    ]:
        refused(what, code, message, call, **arguments)


def what_policies_say():
    iam = boto3.client("iam")
    iam.create_user(UserName="reader")
    statement = {"Effect": "Allow", "Action": ["logs:FilterLogEvents", "logs:GetLogEvents"], "Resource": f"{ARN}:*"}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = boto3.client("logs", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    expect("what may be read", len(reader.filter_log_events(logGroupName=GROUP, limit=1)["events"]), 1)
    refused("another group", "AccessDeniedException", "logs:FilterLogEvents", reader.filter_log_events, logGroupName="/desk/other")
    expect("by its ARN", len(reader.filter_log_events(logGroupIdentifier=ARN, limit=1)["events"]), 1)
    expect("by its name as identifier", len(reader.filter_log_events(logGroupIdentifier=GROUP, limit=1)["events"]), 1)
    refused("another by identifier", "AccessDeniedException", "logs:FilterLogEvents", reader.filter_log_events, logGroupIdentifier="/desk/other")
    # A member that the operation does not read opens nothing.
    sent = {"resourceArn": ARN, "logGroupIdentifier": "/desk/other"}
    request = AWSRequest("POST", os.environ["AWS_ENDPOINT_URL"] + "/", data=json.dumps(sent), headers={"X-Amz-Target": "Logs_20140328.FilterLogEvents", "Content-Type": "application/x-amz-json-1.1"})
    SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "logs", os.environ["AWS_DEFAULT_REGION"]).add_auth(request)
    told = requests.post(request.url, data=request.data, headers=dict(request.headers))
    expect("a group beside the one that is allowed", told.json()["__type"], "AccessDeniedException")
    tailing = boto3.client("logs", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], config=Config(inject_host_prefix=False))
    refused("a tail", "AccessDeniedException", "logs:StartLiveTail", tailing.start_live_tail, logGroupIdentifiers=[ARN])
    refused("a deletion", "AccessDeniedException", "logs:DeleteLogGroup", reader.delete_log_group, logGroupName=GROUP)


def live_tail():
    """New events come as they are written; what a session is not for does not."""
    # By its own name the operation is asked at another host than the rest of the service: tests/clients/exec.py.
    here = boto3.client("logs", config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}))
    tail = here.start_live_tail(logGroupIdentifiers=[ARN], logStreamNamePrefixes=["b", "c"], logEventFilterPattern="LIVE")["responseStream"]
    tailed = iter(tail)
    started = next(tailed)["sessionStart"]
    expect("a session", (started["logGroupIdentifiers"], started["logStreamNamePrefixes"], started["logEventFilterPattern"], len(started["sessionId"])), ([ARN], ["b", "c"], "LIVE", 36))
    put("a", (60, "LIVE elsewhere"))
    put("b", (61, "LIVE one"), (62, "other"))
    put("c", (63, "LIVE two"))
    found = []
    while len(found) < 2:
        update = next(tailed)["sessionUpdate"]
        expect("no sample", update["sessionMetadata"], {"sampled": False})
        found += update["sessionResults"]
    expect("what came", [(event["message"], event["logStreamName"], event["logGroupIdentifier"], event["timestamp"]) for event in found],
           [("LIVE one", "b", ARN, NOW + 61), ("LIVE two", "c", ARN, NOW + 63)])
    expect("when it came", all(event["ingestionTime"] >= NOW for event in found), True)
    tail.close()
    for what, code, message, arguments in [
        ("no group", "ResourceNotFoundException", "The specified log group does not exist.", {"logGroupIdentifiers": ["nobody"]}),
        ("an asterisk", "InvalidParameterException", "must not end with an asterisk", {"logGroupIdentifiers": [f"{ARN}:*"]}),
        ("eleven groups", "InvalidParameterException", "length less than or equal to 10", {"logGroupIdentifiers": [GROUP] * 11}),
        ("streams of two groups", "InvalidParameterException", "a single log group", {"logGroupIdentifiers": [GROUP, "/desk/other"], "logStreamNames": ["a"]}),
        ("names and prefixes", "InvalidParameterException", "mutually exclusive", {"logGroupIdentifiers": [GROUP], "logStreamNames": ["a"], "logStreamNamePrefixes": ["b"]}),
        ("a pattern", "InvalidParameterException", "Invalid filter pattern", {"logGroupIdentifiers": [GROUP], "logEventFilterPattern": "{ $.a }"}),
    ]:
        refused(f"a tail of {what}", code, message, here.start_live_tail, **arguments)


def metric_filters():
    transformation = {"metricName": "Slow", "metricNamespace": "Desk", "metricValue": "$.ms", "dimensions": {"Path": "$.path"}, "unit": "Milliseconds"}
    about = dict(logGroupName=GROUP, filterName="slow")
    logs.put_metric_filter(**about, filterPattern="{ $.ms > 10 }", metricTransformations=[transformation])
    kept = logs.describe_metric_filters(logGroupName=GROUP)["metricFilters"]
    expect("a filter", [(one["filterName"], one["filterPattern"], one["metricTransformations"], one["logGroupName"]) for one in kept], [("slow", "{ $.ms > 10 }", [transformation], GROUP)])
    expect("by metric", len(logs.describe_metric_filters(metricName="Slow", metricNamespace="Desk")["metricFilters"]), 1)
    expect("its group", logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"][0]["metricFilterCount"], 1)
    matches = logs.test_metric_filter(filterPattern="ERROR", logEventMessages=["fine", "ERROR x"])["matches"]
    expect("a trial", [(match["eventNumber"], match["eventMessage"]) for match in matches], [(2, "ERROR x")])
    wrong = {**transformation, "defaultValue": 0.0}
    refused("two ways", "InvalidParameterException", "mutually exclusive", logs.put_metric_filter, **about, filterPattern="x", metricTransformations=[wrong])
    logs.delete_metric_filter(**about)
    expect("no filter", logs.describe_metric_filters(logGroupName=GROUP)["metricFilters"], [])


def what_agents_print():
    view = launch("echo")
    runtime_id = view["agentRuntimeArn"].split("/")[-1]
    session = "a-session-of-thirty-three-letters-or-more"
    agentcore = boto3.client("bedrock-agentcore")
    answer = agentcore.invoke_agent_runtime(agentRuntimeArn=view["agentRuntimeArn"], runtimeSessionId=session, payload=json.dumps({"prompt": "hi"}))
    answer["response"].read()
    group = f"/aws/bedrock-agentcore/runtimes/{runtime_id}-DEFAULT"
    expect("its lines", logged(group, bool, filterPattern="asked"), ['asked {"prompt": "hi"}'])
    streams = [stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    expect("a session's stream", any(stream.endswith(f"/[runtime-logs]{session}") for stream in streams), True)


def what_outlives_a_killed_host(is_after):
    """First what is written before, and then what is found after."""
    about = dict(logGroupName="/desk/lasting", logStreamName="s")
    if not is_after:
        logs.create_log_group(logGroupName=about["logGroupName"])
        logs.create_log_stream(**about)
        for number in range(20):
            logs.put_log_events(**about, logEvents=[{"timestamp": NOW + number, "message": f"line {number}"}])
        return
    kept = [event["message"] for event in logs.get_log_events(**about, startFromHead=True)["events"]]
    expect("what was acknowledged", kept, [f"line {number}" for number in range(20)])


if sys.argv[1:]:
    what_outlives_a_killed_host(sys.argv[1] == "after")
    print("all logs were as they should be")
    sys.exit()
groups_and_streams()
events()
what_is_refused()
what_policies_say()
live_tail()
metric_filters()
what_agents_print()
logs.delete_log_stream(logGroupName=GROUP, logStreamName="a")
expect("what is left", [message for message in found() if "LIVE" not in message and message != "other"], ['{"level": "ERROR", "ms": 20, "path": "/x"}', '{"level": "INFO", "ms": 5}', "ERROR two words"])
for name in (GROUP, "/desk/other"):
    cli("delete-log-group", "--log-group-name", name)
refused("a group that is gone", "ResourceNotFoundException", "The specified log group does not exist.", logs.delete_log_group, logGroupName=GROUP)
print("all logs were as they should be")
