"""A stand-in for AWS's services: moto's server on a free port. Prints its address, and ends when its standard input does.

Moto's CloudFormation knows neither AgentCore nor half of API Gateway nor alarms. It is taught here to make them in moto's own services. What moto lacks beyond
that: an alarm's metric math, response transfer modes, method settings of a stage, tags from the stack on its resources, and usage.
"""

import sys

from moto.apigateway.models import Method, apigateway_backends
from moto.bedrockagentcorecontrol.models import bedrockagentcorecontrol_backends
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.logs.models import logs_backends
from moto.server import ThreadedMotoServer

class Made:
    """A resource that was made: what `Ref` gives for it, and its attributes."""

    def __init__(self, physical_id, attributes=None, remove=None):
        self.physical_id, self.attributes, self.remove = physical_id, attributes or {}, remove


def teach(kind, make):
    """Teaches CloudFormation the type `kind`: `make(name, properties, account, region)` makes one, on an update once more."""

    def create(cls, resource_name, cloudformation_json, account_id, region_name, **_kwargs):
        resource = cls()
        resource.made = make(resource_name, cloudformation_json.get("Properties", {}), account_id, region_name)
        return resource

    def update(cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name):
        if kind not in CHANGED_IN_PLACE:
            original_resource.delete(account_id, region_name)
        return create(cls, new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, _account_id, _region_name):
        if self.made.remove:
            self.made.remove()

    members = {
        "cloudformation_name_type": staticmethod(lambda: ""),
        "cloudformation_type": staticmethod(lambda: kind),
        "has_cfn_attr": classmethod(lambda cls, attribute: True),
        "create_from_cloudformation_json": classmethod(create),
        "update_from_cloudformation_json": classmethod(update),
        "delete_from_cloudformation_json": classmethod(lambda cls, *_: None),
        "delete": delete,
        "is_created": lambda self: True,
        "physical_resource_id": property(lambda self: self.made.physical_id),
        "get_cfn_attribute": lambda self, name: self.made.attributes[name],
    }
    # Kept in moto's own list of subclasses.
    TAUGHT.append(type(kind.replace("::", ""), (CloudFormationModel,), members))


TAUGHT = []
CHANGED_IN_PLACE = ["AWS::BedrockAgentCore::Runtime", "AWS::BedrockAgentCore::RuntimeEndpoint"]


def runtime(_name, properties, account, region):
    backend = bedrockagentcorecontrol_backends[account][region]
    configuration = {
        "agent_runtime_artifact": artifact(properties["AgentRuntimeArtifact"]),
        "role_arn": properties["RoleArn"],
        "network_configuration": {"networkMode": properties["NetworkConfiguration"]["NetworkMode"]},
        "description": properties["Description"],
        "authorizer_configuration": None,
        "request_header_configuration": {"requestHeaderAllowlist": properties["RequestHeaderConfiguration"]["RequestHeaderAllowlist"]},
        "protocol_configuration": {"serverProtocol": properties["ProtocolConfiguration"]},
        "lifecycle_configuration": {
            "idleRuntimeSessionTimeout": properties["LifecycleConfiguration"]["IdleRuntimeSessionTimeout"],
            "maxLifetime": properties["LifecycleConfiguration"]["MaxLifetime"],
        },
        "environment_variables": properties.get("EnvironmentVariables"),
    }
    name = properties["AgentRuntimeName"]
    made = next((known for known in backend.agent_runtimes.values() if known.agent_runtime_name == name), None)
    if made:
        backend.update_agent_runtime(made.agent_runtime_id, **configuration)
    else:
        made = backend.create_agent_runtime(name, tags=None, **configuration)
        # Moto's own ARN has a form that AgentCore's has not.
        made.agent_runtime_arn = f"arn:aws:bedrock-agentcore:{region}:{account}:runtime/{made.agent_runtime_id}"
    attributes = {"AgentRuntimeArn": made.agent_runtime_arn, "AgentRuntimeId": made.agent_runtime_id, "AgentRuntimeVersion": made.agent_runtime_version}
    return Made(made.agent_runtime_id, attributes, lambda: backend.delete_agent_runtime(made.agent_runtime_id))


def artifact(properties):
    if "CodeConfiguration" not in properties:
        return {"containerConfiguration": {"containerUri": properties["ContainerConfiguration"]["ContainerUri"]}}
    code = properties["CodeConfiguration"]
    place = {"bucket": code["Code"]["S3"]["Bucket"], "prefix": code["Code"]["S3"]["Prefix"]}
    return {"codeConfiguration": {"code": {"s3": place}, "runtime": code["Runtime"], "entryPoint": code["EntryPoint"]}}


def endpoint(_name, properties, account, region):
    backend = bedrockagentcorecontrol_backends[account][region]
    runtime_id, name, version = properties["AgentRuntimeId"], properties["Name"], properties["AgentRuntimeVersion"]
    if (runtime_id, name) in backend.agent_runtime_endpoints:
        backend.update_agent_runtime_endpoint(runtime_id, name, version, properties["Description"])
    else:
        backend.create_agent_runtime_endpoint(runtime_id, name, version, properties["Description"], None)
    arn = f"arn:aws:bedrock-agentcore:{region}:{account}:runtime/{runtime_id}/runtime-endpoint/{name}"
    return Made(arn, {"AgentRuntimeEndpointArn": arn})


def alarm(_name, properties, account, region):
    backend = cloudwatch_backends[account][region]
    backend.put_metric_alarm(
        name=properties["AlarmName"],
        namespace=properties.get("Namespace"),
        metric_name=properties.get("MetricName"),
        comparison_operator=properties["ComparisonOperator"],
        evaluation_periods=properties["EvaluationPeriods"],
        period=properties.get("Period"),
        threshold=properties["Threshold"],
        statistic=properties.get("Statistic"),
        description=properties["AlarmDescription"],
        dimensions=[],
        alarm_actions=properties.get("AlarmActions", []),
    )
    return Made(properties["AlarmName"], remove=lambda: backend.delete_alarms([properties["AlarmName"]]))


def account(_name, properties, account, region):
    role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": properties["CloudWatchRoleArn"]}
    apigateway_backends[account][region].update_account([role])
    return Made("account")


def api_key(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    key = backend.create_api_key({"name": properties["Name"], "description": properties["Description"], "enabled": properties["Enabled"]})
    return Made(key.id, remove=lambda: backend.delete_api_key(key.id))


def usage_plan(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    payload = {"name": properties["UsagePlanName"], "apiStages": [{"apiId": s["ApiId"], "stage": s["Stage"]} for s in properties["ApiStages"]]}
    if "Throttle" in properties:
        payload["throttle"] = {"rateLimit": properties["Throttle"]["RateLimit"], "burstLimit": properties["Throttle"]["BurstLimit"]}
    if "Quota" in properties:
        payload["quota"] = {"limit": properties["Quota"]["Limit"], "period": properties["Quota"]["Period"]}
    plan = backend.create_usage_plan(payload)
    return Made(plan.id, remove=lambda: backend.delete_usage_plan(plan.id))


def usage_plan_key(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    backend.create_usage_plan_key(properties["UsagePlanId"], {"keyId": properties["KeyId"], "keyType": properties["KeyType"]})
    return Made(f"{properties['KeyId']}:{properties['UsagePlanId']}")


def stage(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    api, name = properties["RestApiId"], properties["StageName"]
    backend.create_stage(api, name, properties["DeploymentId"], description=properties["Description"])
    log = properties["AccessLogSetting"]
    patches = [{"op": "replace", "path": f"/accessLogSettings/{field}", "value": log[field[0].upper() + field[1:]]} for field in ("destinationArn", "format")]
    backend.update_stage(api, name, patches)
    return Made(name, remove=lambda: api in backend.apis and backend.delete_stage(api, name))


def gateway_response(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    backend.put_gateway_response(properties["RestApiId"], properties["ResponseType"], None, properties["ResponseParameters"], None)
    return Made(properties["ResponseType"])


def metric_filter(name, properties, account, region):
    wanted = [
        {"metricName": t["MetricName"], "metricNamespace": t["MetricNamespace"], "metricValue": t["MetricValue"]} for t in properties["MetricTransformations"]
    ]
    logs_backends[account][region].put_metric_filter(name, properties["FilterPattern"], properties["LogGroupName"], wanted)
    return Made(name)


teach("AWS::BedrockAgentCore::Runtime", runtime)
teach("AWS::BedrockAgentCore::RuntimeEndpoint", endpoint)
teach("AWS::ApiGateway::Account", account)
teach("AWS::ApiGateway::ApiKey", api_key)
teach("AWS::ApiGateway::UsagePlan", usage_plan)
teach("AWS::ApiGateway::UsagePlanKey", usage_plan_key)
teach("AWS::ApiGateway::Stage", stage)
teach("AWS::ApiGateway::GatewayResponse", gateway_response)
teach("AWS::Logs::MetricFilter", metric_filter)
teach("AWS::CloudWatch::Alarm", alarm)

# Moto wants of every integration what a mock has no use for.
create_method = Method.create_from_cloudformation_json.__func__


def create_any_method(cls, resource_name, cloudformation_json, *rest, **more):
    cloudformation_json["Properties"]["Integration"].setdefault("IntegrationHttpMethod", "POST")
    cloudformation_json["Properties"]["Integration"].setdefault("Uri", "")
    return create_method(cls, resource_name, cloudformation_json, *rest, **more)


Method.create_from_cloudformation_json = classmethod(create_any_method)

# Moto forgets the outputs of a stack that a change set makes.
execute_change_set = CloudFormationBackend.execute_change_set


def execute_with_outputs(self, change_set_name, stack_name=None):
    execute_change_set(self, change_set_name, stack_name)
    stack = self.stacks[self.change_sets[change_set_name].stack_id]
    stack._parse_template()
    stack.output_map = stack._create_output_map()


CloudFormationBackend.execute_change_set = execute_with_outputs

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
sys.stdin.read()
server.stop()
