"""Metrics and alarms of a running host, by boto3 in each protocol that SDKs speak, and by the aws CLI.

The environment names the host: AWS_ENDPOINT_URL and AWS credentials for the control face. The first argument says what is played:
`api` all operations; `traffic ANSWERED REFUSED` that the host's own figures are these; `alarm` sets one over 429s; `history` that it has been in ALARM and back.
"""

import datetime
import json
import os
import random
import subprocess
import sys
import time
import urllib.parse

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import expect, refused, refused_with

NOW = datetime.datetime.now(datetime.timezone.utc)
HOUR = datetime.timedelta(hours=1)
WINDOW = {"StartTime": NOW - HOUR, "EndTime": NOW + HOUR}
API = [{"Name": "ApiName", "Value": "AgentCore-FAQ-API"}]
ONCE = Config(retries={"total_max_attempts": 1})


def client(protocol):
    """A CloudWatch client whose model knows one protocol only, as SDKs of that age do."""
    session = botocore.session.Session()
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def only(service, kind, *rest, **more):
        model = load(service, kind, *rest, **more)
        if service == "cloudwatch" and kind == "service-2":
            metadata = {**model["metadata"], "protocol": protocol, "protocols": [protocol]}
            if protocol == "query":
                metadata.pop("awsQueryCompatible", None)
            # A model for the query protocol names the element around a result.
            operations = {}
            for name, operation in model["operations"].items():
                output = operation.get("output")
                operations[name] = {**operation, "output": {**output, "resultWrapper": f"{name}Result"}} if output else operation
            model = {**model, "metadata": metadata, "operations": operations}
        return model

    loader.load_service_model = only
    made = boto3.Session(botocore_session=session).client("cloudwatch", config=ONCE)
    sent = []
    made.meta.events.register("before-send.cloudwatch", lambda request, **_: sent.append(request) and None)
    return made, sent


def cli(*arguments):
    ran = subprocess.run(["aws", *arguments], capture_output=True, text=True)
    return ran.returncode, ran.stdout, ran.stderr


def rank(values, percent):
    """The nearest rank, computed another way than the host does."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(percent * len(ordered) * 1000) // 100000) - 1)]


def close(what, seen, wanted, share=0.011):
    if abs(seen - wanted) > abs(wanted) * share:
        sys.exit(f"{what}: saw {seen!r}, wanted {wanted!r} within {share}")


def figures(protocol, mark):
    """Puts values in a protocol and reads them back in it."""
    cloudwatch, sent = client(protocol)
    namespace = f"Tests/{protocol}"
    of = [{"Name": "Desk", "Value": "a <b> & ü"}]
    random.seed(7)
    values = [round(random.lognormvariate(3, 1), 3) for _ in range(700)]
    # More than ten kilobytes: SDKs compress it where the model says that they may.
    for begin in range(0, 700, 350):
        data = [{"MetricName": "Wait", "Dimensions": of, "Value": value, "Unit": "Milliseconds", "Timestamp": NOW} for value in values[begin : begin + 350]]
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    expect(f"{protocol}: a large body is compressed", any(request.headers.get("Content-Encoding") in ("gzip", b"gzip") for request in sent), True)
    seen = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Wait", Dimensions=of, Period=60, Statistics=["SampleCount", "Sum", "Average", "Minimum", "Maximum"], **WINDOW
    )
    expect("label", seen["Label"], "Wait")
    point = seen["Datapoints"][0]
    expect("one minute, one unit", (len(seen["Datapoints"]), point["Unit"], point["SampleCount"]), (1, "Milliseconds", 700.0))
    close("sum", point["Sum"], sum(values), 1e-9)
    close("average", point["Average"], sum(values) / 700, 1e-9)
    expect("bounds", (point["Minimum"], point["Maximum"]), (min(values), max(values)))
    minute = NOW.replace(second=0, microsecond=0)
    expect("the minute", point["Timestamp"].astimezone(datetime.timezone.utc), minute)
    percents = ["p1", "p50", "p90", "p99", "p99.9", "p100"]
    seen = cloudwatch.get_metric_statistics(Namespace=namespace, MetricName="Wait", Dimensions=of, Period=3600, ExtendedStatistics=percents, **WINDOW)
    for percent in percents:
        close(percent, seen["Datapoints"][0]["ExtendedStatistics"][percent], rank(values, float(percent[1:])))

    # Values with how often each came; and a set, of which nobody knows how its values lie.
    datum = {"MetricName": "Many", "Values": [1, 2, 4], "Counts": [1, 2, 1], "Unit": "Count"}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
    many = {"Namespace": namespace, "MetricName": "Many", "Period": 60, **WINDOW}
    point = cloudwatch.get_metric_statistics(**many, Statistics=["Sum", "SampleCount"])["Datapoints"][0]
    expect("values and counts", (point["Sum"], point["SampleCount"]), (9.0, 4.0))
    whole = {"SampleCount": 10, "Sum": 55, "Minimum": 1, "Maximum": 10}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "Set", "StatisticValues": whole}])
    of_set = {"Namespace": namespace, "MetricName": "Set", "Period": 60, **WINDOW}
    point = cloudwatch.get_metric_statistics(**of_set, Statistics=["Average"], ExtendedStatistics=["p50"])["Datapoints"][0]
    expect("a set has no percentiles", (point["Average"], "ExtendedStatistics" in point), (5.5, False))

    listed = cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "Desk"}])["Metrics"]
    expect("listed", listed, [{"Namespace": namespace, "MetricName": "Wait", "Dimensions": of}])
    expect("listed by a value", cloudwatch.list_metrics(Namespace=namespace, Dimensions=[{"Name": "Desk", "Value": "b"}])["Metrics"], [])
    expect("recently", len(cloudwatch.list_metrics(Namespace=namespace, RecentlyActive="PT3H")["Metrics"]), 3)

    # Errors have the same codes in every protocol.
    named = {"Namespace": namespace, "MetricName": "Wait", "Period": 60}
    refused_with("an end before the start", 400, "InvalidParameterValue", "must be less than the parameter EndTime", cloudwatch.get_metric_statistics, **named, StartTime=NOW, EndTime=NOW - HOUR, Statistics=["Sum"])
    refused("too many points", "InvalidParameterCombination", "exceeds the limit of 1,440", cloudwatch.get_metric_statistics, **named, StartTime=NOW - 48 * HOUR, EndTime=NOW, Statistics=["Sum"])
    refused("no statistics", "InvalidParameterCombination", "Statistics or ExtendedStatistics", cloudwatch.get_metric_statistics, **named, **WINDOW)
    refused("a statistic that is not computed", "InvalidParameterValue", "tm90", cloudwatch.get_metric_statistics, **named, **WINDOW, ExtendedStatistics=["tm90"])
    refused("a namespace of AWS's", "InvalidParameterValue", "AWS/Mine for parameter Namespace", cloudwatch.put_metric_data, Namespace="AWS/Mine", MetricData=[{"MetricName": "a", "Value": 1}])
    refused("no value", "MissingParameter", "MetricData.member.2.Value", cloudwatch.put_metric_data, Namespace="a", MetricData=[{"MetricName": "a", "Value": 1}, {"MetricName": "b"}])
    refused("a month ago", "InvalidParameterValue", "two weeks", cloudwatch.put_metric_data, Namespace="a", MetricData=[{"MetricName": "a", "Value": 1, "Timestamp": NOW - 31 * 24 * HOUR}])
    refused("two kinds of value", "InvalidParameterCombination", "mutually exclusive", cloudwatch.put_metric_data, Namespace="a", MetricData=[{"MetricName": "a", "Value": 1, "StatisticValues": whole}])
    refused("a number beyond", "InvalidParameterValue", "is invalid", cloudwatch.put_metric_data, Namespace="a", MetricData=[{"MetricName": "a", "Value": 1e200}])
    expect("what was refused was not counted", cloudwatch.list_metrics(Namespace="a")["Metrics"], [])
    refused_with("no alarm", 404, "ResourceNotFound", "nobody", cloudwatch.delete_alarms, AlarmNames=["nobody"])
    refused("an operation that is not served", "InvalidAction", "PutDashboard", cloudwatch.put_dashboard, DashboardName="a", DashboardBody="{}")
    expect(f"{protocol} is what was spoken", {mark(request) for request in sent}, {True})


def queries(cloudwatch):
    namespace = "Tests/Math"
    at = NOW.replace(second=0, microsecond=0) - datetime.timedelta(minutes=10)
    minute = datetime.timedelta(minutes=1)
    rows = [(0, 5, 50), (1, 0, 20), (3, 3, 4)]
    data = []
    for after, errors, count in rows:
        for name, value in (("Errors", errors), ("Count", count)):
            data.append({"MetricName": name, "Value": value, "Timestamp": at + after * minute})
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)

    def stat(name):
        return {"Id": name.lower(), "ReturnData": False, "MetricStat": {"Metric": {"Namespace": namespace, "MetricName": name}, "Period": 60, "Stat": "Sum"}}

    asked = [stat("Errors"), stat("Count"), {"Id": "rate", "Expression": "100*errors/count", "Label": "Percent"}, {"Id": "filled", "Expression": "IF(count > 0, FILL(errors, 0), 0)"}]
    time_asked = {"StartTime": at, "EndTime": at + 4 * minute}
    seen = cloudwatch.get_metric_data(MetricDataQueries=asked, ScanBy="TimestampAscending", **time_asked)["MetricDataResults"]
    expect("ids", [(one["Id"], one["Label"], one["StatusCode"]) for one in seen], [("rate", "Percent", "Complete"), ("filled", "filled", "Complete")])
    expect("a rate", seen[0]["Values"], [10.0, 0.0, 75.0])
    expect("its minutes", [(moment.astimezone(datetime.timezone.utc) - at) // minute for moment in seen[0]["Timestamps"]], [0, 1, 3])
    newest_first = cloudwatch.get_metric_data(MetricDataQueries=asked[:3], **time_asked)["MetricDataResults"][0]["Values"]
    expect("newest first", newest_first, [75.0, 0.0, 10.0])
    pages = list(cloudwatch.get_paginator("get_metric_data").paginate(MetricDataQueries=asked, MaxDatapoints=2, ScanBy="TimestampAscending", **time_asked))
    paged = [value for page in pages for one in page["MetricDataResults"] if one["Id"] == "rate" for value in one["Values"]]
    expect("by pages", (len(pages), paged, pages[0]["MetricDataResults"][0]["StatusCode"]), (3, [10.0, 0.0, 75.0], "PartialData"))
    refused("an unknown function", "ValidationError", "ANOMALY_DETECTION_BAND is not computed here", cloudwatch.get_metric_data, MetricDataQueries=[stat("Errors"), {"Id": "a", "Expression": "ANOMALY_DETECTION_BAND(errors)"}], **time_asked)
    refused("an unknown id", "ValidationError", "Undefined variable 'nothing'", cloudwatch.get_metric_data, MetricDataQueries=[{"Id": "a", "Expression": "nothing + 1"}], **time_asked)

    for begin in range(0, 600, 300):
        cloudwatch.put_metric_data(Namespace="Tests/Many", MetricData=[{"MetricName": f"M{number}", "Value": 1} for number in range(begin, begin + 300)])
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace="Tests/Many"))
    names = {metric["MetricName"] for page in pages for metric in page["Metrics"]}
    expect("more metrics than a page", (len(pages), len(names)), (2, 600))
    refused("a token of nobody's", "InvalidParameterValue", "NextToken", cloudwatch.list_metrics, NextToken="nobody's")


def alarms(cloudwatch):
    # The FAQ guide's two, by the aws CLI.
    guide = ["--region", os.environ["AWS_DEFAULT_REGION"], "--comparison-operator", "GreaterThanThreshold"]
    errors = ["--alarm-name", "AgentCoreProxy-HighErrorRate", "--alarm-description", "Triggers when Lambda error rate exceeds 5%", "--metric-name", "Errors", "--namespace", "AWS/Lambda", "--statistic", "Average"]
    errors += ["--period", "300", "--threshold", "5", "--evaluation-periods", "2", "--dimensions", "Name=FunctionName,Value=AgentCoreProxy"]
    throttle = ["--alarm-name", "APIGateway-HighThrottle", "--alarm-description", "Triggers when API requests are throttled", "--metric-name", "429", "--namespace", "AWS/ApiGateway", "--statistic", "Sum"]
    throttle += ["--period", "60", "--threshold", "100", "--evaluation-periods", "1", "--dimensions", "Name=ApiName,Value=AgentCore-FAQ-API"]
    for alarm in (errors, throttle):
        expect("the guide's alarm", cli("cloudwatch", "put-metric-alarm", *alarm, *guide), (0, "", ""))
    code, out, err = cli("cloudwatch", "describe-alarms", "--alarm-name-prefix", "AgentCoreProxy")
    seen = json.loads(out)["MetricAlarms"][0]
    expect("described", (code, seen["Threshold"], seen["Period"], seen["ActionsEnabled"], seen["StateValue"]), (0, 5.0, 300, True, "INSUFFICIENT_DATA"))
    code, out, err = cli("cloudwatch", "describe-alarms-for-metric", "--namespace", "AWS/ApiGateway", "--metric-name", "429", "--dimensions", "Name=ApiName,Value=AgentCore-FAQ-API")
    expect("for a metric", [alarm["AlarmName"] for alarm in json.loads(out)["MetricAlarms"]], ["APIGateway-HighThrottle"])

    # One over a rate, as `frontdesk deploy` makes it.
    def stat(name, metric):
        return {"Id": name, "ReturnData": False, "MetricStat": {"Metric": {"Namespace": "Tests/Alarm", "MetricName": metric, "Dimensions": []}, "Period": 60, "Stat": "Sum"}}

    rate = {"AlarmName": "Rate", "EvaluationPeriods": 2, "DatapointsToAlarm": 1, "Threshold": 5, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching", "Tags": [{"Key": "team", "Value": "desk"}]}
    metrics = [{"Id": "rate", "Expression": "IF(all > 0, 100 * failed / all, 0)", "Label": "Percent", "ReturnData": True}, stat("failed", "Failed"), stat("all", "All")]
    cloudwatch.put_metric_alarm(**rate, Metrics=metrics)
    cloudwatch.get_waiter("alarm_exists").wait(AlarmNames=["Rate"])
    seen = cloudwatch.describe_alarms(AlarmNames=["Rate"])["MetricAlarms"][0]
    expect("its queries", seen["Metrics"], metrics)
    # The two minutes before this one are over: the alarm sees them when it is judged next.
    minute = datetime.timedelta(minutes=1)
    before = datetime.datetime.now(datetime.timezone.utc)
    data = [{"MetricName": name, "Value": value, "Timestamp": before - minute} for name, value in (("Failed", 3), ("All", 10))]
    cloudwatch.put_metric_data(Namespace="Tests/Alarm", MetricData=data)
    seen = until(lambda: cloudwatch.describe_alarms(AlarmNames=["Rate"], StateValue="ALARM")["MetricAlarms"])[0]
    if "[30.0 (" not in seen["StateReason"] or "was greater than the threshold (5.0)" not in seen["StateReason"]:
        sys.exit(f"the reason: {seen['StateReason']}")
    expect("its data", json.loads(seen["StateReasonData"])["recentDatapoints"], [30.0])

    arn = seen["AlarmArn"]
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "stage", "Value": "prod"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["team"])
    expect("tags", cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"], [{"Key": "stage", "Value": "prod"}])
    refused_with("tags of nothing", 404, "ResourceNotFoundException", "nobody", cloudwatch.list_tags_for_resource, ResourceARN=arn.replace("Rate", "nobody"))

    cloudwatch.disable_alarm_actions(AlarmNames=["Rate"])
    expect("switched off", cloudwatch.describe_alarms(AlarmNames=["Rate"])["MetricAlarms"][0]["ActionsEnabled"], False)
    cloudwatch.enable_alarm_actions(AlarmNames=["Rate", "nobody"])
    expect("switched on", cloudwatch.describe_alarms(AlarmNames=["Rate"])["MetricAlarms"][0]["ActionsEnabled"], True)
    # An alarm with nothing to see and nothing to say of it stays as it is set.
    cloudwatch.put_metric_alarm(AlarmName="Quiet", Namespace="Tests", MetricName="Nothing", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore")
    cloudwatch.set_alarm_state(AlarmName="Quiet", StateValue="ALARM", StateReason="testing", StateReasonData="{}")
    seen = cloudwatch.describe_alarms(AlarmNames=["Quiet"])["MetricAlarms"][0]
    expect("set", (seen["StateValue"], seen["StateReason"]), ("ALARM", "testing"))
    kinds = [item["HistoryItemType"] for item in cloudwatch.describe_alarm_history(AlarmName="Quiet", ScanBy="TimestampAscending")["AlarmHistoryItems"]]
    expect("its history", kinds, ["ConfigurationUpdate", "StateUpdate"])
    pages = list(cloudwatch.get_paginator("describe_alarms").paginate(PaginationConfig={"PageSize": 1}))
    expect("by pages", [alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]], ["APIGateway-HighThrottle", "AgentCoreProxy-HighErrorRate", "Quiet", "Rate"])
    expect("none are composite", cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"])["MetricAlarms"], [])

    simple = {"AlarmName": "x", "Namespace": "Tests", "MetricName": "a", "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
    refused("no statistic", "ValidationError", "Statistic or ExtendedStatistic", cloudwatch.put_metric_alarm, **simple, Period=60)
    refused("a period of no kind", "ValidationError", "10, 20, 30 or a multiple of 60", cloudwatch.put_metric_alarm, **simple, Period=61, Statistic="Sum")
    refused("too long", "ValidationError", "EvaluationPeriods * Period must be <= 86400", cloudwatch.put_metric_alarm, **{**simple, "EvaluationPeriods": 1441}, Period=60, Statistic="Sum")
    refused("more than all", "ValidationError", "DatapointsToAlarm", cloudwatch.put_metric_alarm, **simple, DatapointsToAlarm=2, Period=60, Statistic="Sum")
    refused("a comparison of no kind", "ValidationError", "comparisonOperator", cloudwatch.put_metric_alarm, **{**simple, "ComparisonOperator": "Larger"}, Period=60, Statistic="Sum")
    refused("missing data of no kind", "ValidationError", "treatMissingData", cloudwatch.put_metric_alarm, **simple, TreatMissingData="maybe", Period=60, Statistic="Sum")
    refused("two that return data", "ValidationError", "Exactly one element", cloudwatch.put_metric_alarm, **rate, Metrics=[{**metrics[1], "ReturnData": True}, {**metrics[2], "ReturnData": True}])
    refused("an action of no kind", "ValidationError", "Invalid arn syntax", cloudwatch.put_metric_alarm, **simple, Period=60, Statistic="Sum", AlarmActions=["mail me"])
    refused("a state of nobody's", "ResourceNotFound", "nobody", cloudwatch.set_alarm_state, AlarmName="nobody", StateValue="OK", StateReason="r")
    refused("a state of no kind", "ValidationError", "stateValue", cloudwatch.set_alarm_state, AlarmName="Quiet", StateValue="FINE", StateReason="r")
    refused("no JSON", "InvalidFormat", "JSON", cloudwatch.set_alarm_state, AlarmName="Quiet", StateValue="OK", StateReason="r", StateReasonData="{")

    refused("one of them is not there", "ResourceNotFound", "nobody", cloudwatch.delete_alarms, AlarmNames=["Rate", "nobody"])
    expect("so none was deleted", len(cloudwatch.describe_alarms()["MetricAlarms"]), 4)
    expect("deleted by the CLI", cli("cloudwatch", "delete-alarms", "--alarm-names", "AgentCoreProxy-HighErrorRate", "APIGateway-HighThrottle", "Rate", "Quiet"), (0, "", ""))
    expect("none is left", cloudwatch.describe_alarms()["MetricAlarms"], [])
    last = cloudwatch.describe_alarm_history(AlarmName="Rate", MaxRecords=1)["AlarmHistoryItems"][0]
    expect("the history outlives it", last["HistorySummary"], 'Alarm "Rate" deleted')


def high_resolution(cloudwatch):
    """Alarms of ten seconds, over points of one: off and back within half a minute."""
    alarm = {"AlarmName": "Fast", "Namespace": "Tests/Fast", "MetricName": "Load", "Statistic": "Maximum", "Period": 10, "EvaluationPeriods": 1}
    cloudwatch.put_metric_alarm(**alarm, Threshold=9, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
    until(lambda: cloudwatch.describe_alarms(AlarmNames=["Fast"], StateValue="OK")["MetricAlarms"])
    cloudwatch.put_metric_data(Namespace="Tests/Fast", MetricData=[{"MetricName": "Load", "Value": 10, "StorageResolution": 1}])
    until(lambda: cloudwatch.describe_alarms(AlarmNames=["Fast"], StateValue="ALARM")["MetricAlarms"])
    until(lambda: cloudwatch.describe_alarms(AlarmNames=["Fast"], StateValue="OK")["MetricAlarms"])
    cloudwatch.delete_alarms(AlarmNames=["Fast"])


def until(look, seconds=120):
    """Looks until there is something to see."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.2)
    sys.exit("what was waited for did not come")


def permissions():
    """A user who may read metrics may not make alarms."""
    iam = boto3.client("iam")
    iam.create_user(UserName="reader")
    statement = {"Effect": "Allow", "Action": ["cloudwatch:GetMetric*", "cloudwatch:ListMetrics"], "Resource": "*"}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    credentials = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    reader = boto3.client("cloudwatch", config=ONCE, **credentials)
    reader.list_metrics()
    try:
        reader.delete_alarms(AlarmNames=["Rate"])
        sys.exit("a reader deleted an alarm")
    except ClientError as error:
        expect("its status", error.response["ResponseMetadata"]["HTTPStatusCode"], 403)
        if "cloudwatch:DeleteAlarms" not in error.response["Error"]["Message"] or "AccessDenied" not in error.response["Error"]["Code"]:
            sys.exit(f"the refusal: {error}")
    refused("another's secret", "InvalidSignatureException", "signature", boto3.client("cloudwatch", config=ONCE, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key="wrong").list_metrics)


def api():
    def target(request):
        name = request.headers.get("X-Amz-Target", "")
        return name.decode() if isinstance(name, bytes) else name

    def path(request):
        return urllib.parse.urlsplit(request.url).path

    granite = "GraniteServiceVersion20100801"
    wires = {
        "smithy-rpc-v2-cbor": lambda request: path(request).startswith(f"/service/{granite}/operation/"),
        "json": lambda request: path(request) == "/" and target(request).startswith(f"{granite}."),
        "query": lambda request: path(request) == "/" and not target(request),
    }
    for protocol, mark in wires.items():
        figures(protocol, mark)
    cloudwatch = boto3.client("cloudwatch", config=ONCE)
    queries(cloudwatch)
    alarms(cloudwatch)
    high_resolution(cloudwatch)
    permissions()
    print("CloudWatch answered as it should")


def traffic(answered, refused_requests):
    cloudwatch = boto3.client("cloudwatch", config=ONCE)
    total = answered + refused_requests

    def day(namespace, name, dimensions, *statistics):
        """The figures of today and yesterday together, so that midnight is none."""
        extended = [statistic for statistic in statistics if statistic.startswith("p")]
        simple = [statistic for statistic in statistics if not statistic.startswith("p")]
        start = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 24 * HOUR
        more = {**({"Statistics": simple} if simple else {}), **({"ExtendedStatistics": extended} if extended else {})}
        points = cloudwatch.get_metric_statistics(Namespace=namespace, MetricName=name, Dimensions=dimensions, StartTime=start, EndTime=NOW + HOUR, Period=172800 + 7200, **more)["Datapoints"]
        expect(f"{name}: one point", len(points), 1)
        return points[0]

    stage = [*API, {"Name": "Stage", "Value": "prod"}]
    method = [*stage, {"Name": "Resource", "Value": "/invoke"}, {"Name": "Method", "Value": "POST"}]
    for dimensions in (API, stage, method):
        point = day("AWS/ApiGateway", "Count", dimensions, "Sum", "SampleCount")
        expect("Count", (point["Sum"], point["SampleCount"], point["Unit"]), (total, total, "Count"))
        errors = day("AWS/ApiGateway", "4XXError", dimensions, "Sum", "Average")
        expect("4XXError", errors["Sum"], refused_requests)
        close("its rate", errors["Average"], refused_requests / total, 1e-9)
        expect("5XXError", day("AWS/ApiGateway", "5XXError", dimensions, "Sum")["Sum"], 0.0)
        latency = day("AWS/ApiGateway", "Latency", dimensions, "SampleCount", "Minimum", "Maximum", "p50", "p100")
        expect("Latency", (latency["SampleCount"], latency["Unit"]), (total, "Milliseconds"))
        expect("all within", latency["Minimum"] <= latency["ExtendedStatistics"]["p50"] <= latency["Maximum"], True)
        close("the slowest", latency["ExtendedStatistics"]["p100"], latency["Maximum"])
        expect("IntegrationLatency", day("AWS/ApiGateway", "IntegrationLatency", dimensions, "SampleCount")["SampleCount"], answered)
    function = [{"Name": "FunctionName", "Value": "frontdesk-proxy"}]
    for dimensions in (function, []):
        expect("Invocations", day("AWS/Lambda", "Invocations", dimensions, "Sum")["Sum"], answered)
        expect("Errors", day("AWS/Lambda", "Errors", dimensions, "Sum")["Sum"], 0.0)
        expect("Duration", day("AWS/Lambda", "Duration", dimensions, "SampleCount")["SampleCount"], answered)
        expect("ConcurrentExecutions", day("AWS/Lambda", "ConcurrentExecutions", dimensions, "Maximum")["Maximum"], 1.0)
    runtime = [{"Name": "Operation", "Value": "InvokeAgentRuntime"}]
    arn = os.environ["AGENT_ARN"]
    named = [*runtime, {"Name": "Resource", "Value": arn}, {"Name": "Name", "Value": "lauki_faq::DEFAULT"}]
    for dimensions in (runtime, named):
        expect("agent's Invocations", day("AWS/Bedrock-AgentCore", "Invocations", dimensions, "Sum")["Sum"], answered)
        expect("agent's Latency", day("AWS/Bedrock-AgentCore", "Latency", dimensions, "SampleCount")["SampleCount"], answered)
        expect("agent's SystemErrors", day("AWS/Bedrock-AgentCore", "SystemErrors", dimensions, "Sum")["Sum"], 0.0)
    costs(total)
    print("the figures are the traffic's")


def costs(requests):
    explorer = boto3.client("ce", config=ONCE)
    today = NOW.date()
    period = {"Start": str(today - datetime.timedelta(days=1)), "End": str(today + datetime.timedelta(days=1))}
    asked = {"TimePeriod": period, "Granularity": "DAILY", "Metrics": ["UnblendedCost", "UsageQuantity"]}
    results = explorer.get_cost_and_usage(**asked, GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}])["ResultsByTime"]
    expect("two days", [(result["TimePeriod"]["Start"], result["Estimated"]) for result in results], [(period["Start"], False), (str(today), True)])
    gateway = [group["Metrics"] for result in results for group in result["Groups"] if group["Keys"] == ["Amazon API Gateway"]]
    expect("requests", sum(float(metrics["UsageQuantity"]["Amount"]) for metrics in gateway), requests)
    close("dollars", sum(float(metrics["UnblendedCost"]["Amount"]) for metrics in gateway), requests * 3.5 / 1e6, 1e-6)
    only = {"Dimensions": {"Key": "SERVICE", "Values": ["AWS Lambda"]}}
    total = explorer.get_cost_and_usage(**{**asked, "Granularity": "MONTHLY"}, Filter=only)["ResultsByTime"][-1]["Total"]
    expect("in dollars", (total["UnblendedCost"]["Unit"], float(total["UnblendedCost"]["Amount"]) > 0), ("USD", True))
    values = explorer.get_dimension_values(TimePeriod=period, Dimension="SERVICE")["DimensionValues"]
    expect("services", {"AWS Lambda", "Amazon API Gateway"} <= {value["Value"] for value in values}, True)
    same = {"Start": "2026-11-01", "End": "2026-11-01"}
    refused_with("no time", 400, "ValidationException", "Start date (and hour) should be before end date (and hour)", explorer.get_cost_and_usage, **{**asked, "TimePeriod": same})
    refused("by the hour", "ValidationException", "Hourly", explorer.get_cost_and_usage, **{**asked, "Granularity": "HOURLY"})
    refused("a metric of no kind", "ValidationException", "Pounds", explorer.get_cost_and_usage, **{**asked, "Metrics": ["Pounds"]})
    refused("a filter that is not served", "ValidationException", "Dimensions of SERVICE", explorer.get_cost_and_usage, **asked, Filter={"Not": only})
    refused("an operation that is not served", "UnknownOperationException", "GetCostForecast", explorer.get_cost_forecast, TimePeriod=period, Metric="UNBLENDED_COST", Granularity="DAILY")
    # The guide's, which says the type where AWS wants a key.
    code, out, err = cli("ce", "get-cost-and-usage", "--time-period", f"Start={period['Start']},End={period['End']}", "--granularity", "MONTHLY", "--metrics", "BlendedCost", "--group-by", "Type=SERVICE")
    expect(f"the guide's: {err}", (code, "Amazon API Gateway" in out), (0, True))


def alarm():
    cloudwatch = boto3.client("cloudwatch", config=ONCE)
    over = {"Namespace": "AWS/ApiGateway", "MetricName": "4XXError", "Dimensions": API, "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1}
    cloudwatch.put_metric_alarm(AlarmName="Throttled", Threshold=10, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching", **over)
    print("the alarm is set")


def history():
    cloudwatch = boto3.client("cloudwatch", config=ONCE)
    items = cloudwatch.describe_alarm_history(AlarmName="Throttled", HistoryItemType="StateUpdate", ScanBy="TimestampAscending")["AlarmHistoryItems"]
    updates = ["INSUFFICIENT_DATA to OK", "OK to ALARM", "ALARM to OK"]
    expect("its states", [item["HistorySummary"] for item in items], [f"Alarm updated from {update}" for update in updates])
    states = [json.loads(item["HistoryData"]) for item in items]
    expect("as data", [(state["oldState"]["stateValue"], state["newState"]["stateValue"]) for state in states][1:], [("OK", "ALARM"), ("ALARM", "OK")])
    told = until(lambda: (seen := cloudwatch.describe_alarm_history(AlarmName="Throttled", HistoryItemType="Action")["AlarmHistoryItems"]) and len(seen) >= 6 and seen)
    expect("who was told", {item["HistorySummary"].split()[3] for item in told}, {"webhook", "command"})
    expect("the state", cloudwatch.describe_alarms(AlarmNames=["Throttled"])["MetricAlarms"][0]["StateValue"], "OK")
    print("the history tells it all")


match sys.argv[1:]:
    case ["api"]:
        api()
    case ["traffic", answered, refused_requests]:
        traffic(int(answered), int(refused_requests))
    case ["alarm"]:
        alarm()
    case ["history"]:
        history()
    case other:
        sys.exit(f"what is to be played? {other}")
